"""A champion leaves as one folder with a card."""

from __future__ import annotations

from pathlib import Path

import yaml


def test_its_card_says_what_the_hub_and_people_ask(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    _, metadata, text = card.split("---\n", 2)
    said = yaml.safe_load(metadata)
    assert said["library_name"] == "cir_assets"
    assert "composed-image-retrieval" in said["tags"]
    assert said["license"] == "other"
    for heading in ("How to load it", "Figures", "Licence", "Limits"):
        assert f"## {heading}\n" in text
    assert "ComposedRetrieval.from_pretrained" in text
