"""Small data sets whose steps are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.random_pictures import picture_bytes

CAPTIONS = ("is red", "has longer sleeves", "is blue and dotted", "with a belt")


@pytest.fixture
def catalogue(tmp_path: Path) -> dict[str, str]:
    """A hundred and twenty pictures and as many triplets, of all three splits."""
    folder = tmp_path / "catalogue"
    folder.mkdir()
    rows = ["reference,target,caption,split"]
    for split, count in (("train", 80), ("val", 20), ("test", 20)):
        names = [f"{split}{number:03d}.jpg" for number in range(count)]
        for number, name in enumerate(names):
            (folder / name).write_bytes(picture_bytes(name))
            rows.append(f"{name},{names[number - 1]},{CAPTIONS[number % 4]},{split}")
    (tmp_path / "triplets.csv").write_text("\n".join(rows) + "\n")
    return {"kind": "catalogue", "pictures": str(folder), "triplets": str(tmp_path / "triplets.csv")}
