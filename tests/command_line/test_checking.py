"""``check`` finds the YAML and the backbones it is held against, and ends by whether anything is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.command_line.conftest import ran


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The folder of a data set among a project's definitions."""
    return written(tmp_path / "defs" / "shop", source={"kind": "wardrobe", "size": 1000}, backbones=["ours"])


def written(folder: Path, **attributes: object) -> Path:
    folder.mkdir(parents=True)
    text = yaml.safe_dump({"type": "x", "attributes": attributes})
    (folder / "defs.yaml").write_text(text)
    return folder


def test_a_folder_is_checked_against_the_backbones_beside_it(shop: Path) -> None:
    alone = ran("check", str(shop))
    assert alone.exit_code == 1
    assert "wrong: " in alone.stdout
    assert "backbones names 'ours'" in alone.stdout
    assert alone.stderr == "1 to mend\n"
    written(shop.with_name("backbones"), backbones={"ours": {"kind": "embedded", "place": "tiny_clip"}})
    for named in (shop, shop / "defs.yaml"):
        found = ran("check", str(named))
        assert (found.exit_code, found.stdout.splitlines()[-1]) == (0, "nothing is wrong")


def test_other_backbones_are_named(shop: Path, tmp_path: Path) -> None:
    others = written(tmp_path / "others", backbones={"ours": {"kind": "embedded", "place": "tiny_clip"}})
    assert ran("check", str(shop), "--backbones", str(others / "defs.yaml")).exit_code == 0


def test_a_folder_without_a_yaml_is_told(tmp_path: Path) -> None:
    refused = ran("check", str(tmp_path))
    assert (refused.exit_code, refused.output) == (1, f"Error: there is no {tmp_path / 'defs.yaml'}\n")
