"""``cir-assets new``: a project that loads as it was written, and nothing where it cannot be."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from dotenv import dotenv_values

from cir_assets.command_line import main
from cir_assets.definitions import build_definitions
from cir_assets.starting.here import dataset_here, module_here
from cir_assets.store.home import SETTINGS
from tests.sample_shop import SAMPLE


def new(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["new", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_project_of_ones_own_pictures_loads_as_it_was_written(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = ("--pictures", str(SAMPLE / "pictures.zip"), "--triplets", str(SAMPLE / "triplets.csv"))
    written = new("my_shop", *named)
    assert written.exit_code == 0, written.output
    assert "180 triplets found: 127 in train" in written.output
    folder = working_folder / "my_shop"
    said = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["dg"]
    assert said["directory_type"] == "project"
    assert said["project"]["root_module"] == "my_shop"
    assert yaml.safe_load((folder / "workspace.yaml").read_text())["load_from"]
    assert (folder / "storage" / "dagster.yaml").read_bytes() == SETTINGS.read_bytes()
    assert len([line for line in (folder / "README.md").read_text().splitlines() if line]) <= 10
    monkeypatch.setenv("PWD", str(folder))
    assert dotenv_values(folder / ".env")["DAGSTER_HOME"] == str(folder / "storage")
    monkeypatch.chdir(folder)
    sys.path.insert(0, str(folder))
    assert (module_here(), dataset_here()) == ("my_shop.definitions", "my_shop")
    keys = {
        key.to_user_string() for key in build_definitions(folder).resolve_asset_graph().get_all_asset_keys()
    }
    assert {"leaderboard", "backbones/tiny_clip", "my_shop/tiny_clip/small/combiner"} <= keys


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["json"], "'json' cannot be the project's name"),
        (["My-Shop"], "'My-Shop' cannot be the project's name"),
        (["cir_assets"], "'cir_assets' cannot be the project's name"),
        (["there"], "is there already"),
        (["shop", "--pictures", "nowhere"], "nowhere is no folder"),
        (["shop", "--triplets", "t.csv"], "name --pictures too"),
        (["shop", "--dataset", "My Shop"], "is no name"),
    ],
)
def test_a_project_that_cannot_be_leaves_nothing_behind(
    working_folder: Path, arguments: list[str], said: str
) -> None:
    (working_folder / "there").mkdir()
    refused = new(*arguments)
    assert refused.exit_code in (1, 2)
    assert said in refused.output
    assert [each.name for each in working_folder.iterdir()] == ["there"]
