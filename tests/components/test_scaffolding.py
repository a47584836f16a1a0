"""Dagster's tools for projects know the components: they scaffold them filled, check, list and launch them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from dagster_dg_cli.cli import cli

from cir_assets.components.fitting import fit_wardrobe
from cir_assets.starting.project import write_project
from tests.sample_shop import SAMPLE
from tests.starting.test_project import forget

DATASET = "cir_assets.components.dataset.Dataset"
BACKBONES = "cir_assets.components.backbones.Backbones"
SHOP = {"pictures": str(SAMPLE / "pictures.zip"), "triplets": str(SAMPLE / "triplets.csv")}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of one's own, and the working folder in it."""
    folder = tmp_path / "dg_shop"
    write_project(folder, "wardrobe", fit_wardrobe(1000))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PWD", str(folder))
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "storage"))
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    yield folder
    forget("dg_shop")


def dg(*arguments: str) -> Result:
    """What a command of ``dg`` did, in this process."""
    return CliRunner().invoke(cli, arguments)


def test_a_data_set_is_scaffolded_from_its_table_and_passes_the_checks(project: Path) -> None:
    done = dg("scaffold", "defs", DATASET, "second", "--json-params", json.dumps(SHOP))
    assert done.exit_code == 0, done.output
    text = (project / "dg_shop" / "defs" / "second" / "defs.yaml").read_text()
    assert "# 180 triplets found: 127 in train, 27 in val, 26 in test." in text
    said = yaml.safe_load(text)
    # As it is registered, the shorter name.
    assert said["type"] == "cir_assets.components.Dataset"
    assert said["attributes"]["source"] == {"kind": "catalogue", **SHOP}
    checked = dg("check", "yaml")
    assert checked.exit_code == 0, checked.output
    listed = dg("list", "defs", "--json")
    assert listed.exit_code == 0, listed.output
    for key in ("second/raw", "second/tiny_clip/small/combiner", "wardrobe/raw", "leaderboard"):
        assert f'"{key}"' in listed.output


def test_an_asset_is_launched(project: Path) -> None:
    launched = dg("launch", "--assets", 'key:"backbones/tiny_clip"')
    assert launched.exit_code == 0, launched.output
    assert (project / "storage" / "backbones" / "tiny_clip" / "model.safetensors").is_file()


def test_check_yaml_names_file_and_line_of_a_mistake(project: Path) -> None:
    file = project / "dg_shop" / "defs" / "wardrobe" / "defs.yaml"
    file.write_text(file.read_text().replace("size: 1000", "sise: 1000"))
    refused = dg("check", "yaml")
    assert refused.exit_code == 1
    assert "sise" in refused.output
    assert f"{file.name}:" in refused.output


@pytest.mark.parametrize(
    ("component", "name", "parameters", "said"),
    [
        (DATASET, "second", {"pictures": "nowhere"}, "nowhere is no folder"),
        (DATASET, "second", {"triplets": "t.csv"}, "name --pictures too"),
        (DATASET, "My-Shop", {}, "must be lower-case letters"),
        (BACKBONES, "others", {"kind": "hub", "name": "My Clip"}, "backbones.My Clip"),
    ],
)
def test_what_cannot_be_scaffolded_is_said_and_leaves_nothing(
    project: Path, component: str, name: str, parameters: dict[str, str], said: str
) -> None:
    refused = dg("scaffold", "defs", component, name, "--json-params", json.dumps(parameters))
    assert refused.exit_code == 1
    assert said in refused.output
    assert not (project / "dg_shop" / "defs" / name).exists()


def test_backbones_are_scaffolded_as_they_are_named(project: Path) -> None:
    (project / "dg_shop" / "defs" / "backbones" / "defs.yaml").unlink()
    asked = {"name": "rn50", "kind": "open_clip", "place": "RN50"}
    done = dg("scaffold", "defs", BACKBONES, "more", "--json-params", json.dumps(asked))
    assert done.exit_code == 0, done.output
    said = yaml.safe_load((project / "dg_shop" / "defs" / "more" / "defs.yaml").read_text())
    assert said["attributes"]["backbones"] == {
        "rn50": {"kind": "open_clip", "place": "RN50", "pretrained": "openai"}
    }
