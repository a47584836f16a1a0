"""``cir-assets new``: a project that loads as it was written, and nothing where it cannot be."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner, Result
from dotenv import dotenv_values

from cir_assets.command_line import main
from cir_assets.components.fitting import fit_wardrobe
from cir_assets.definitions import build_definitions
from cir_assets.starting.here import dataset_here, module_here
from cir_assets.starting.project import write_project
from cir_assets.store.home import SETTINGS, begin_storage
from tests.sample_shop import SAMPLE


def new(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["new", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "storage"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


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


def test_without_a_project_a_command_means_what_comes_with_the_package(working_folder: Path) -> None:
    assert (module_here(), dataset_here()) == ("cir_assets.definitions", "wardrobe")
    (working_folder / "pyproject.toml").write_text("[project]\nname = 'another'\n")
    assert module_here() == "cir_assets.definitions"


FOREIGN = {
    "foreign/__init__.py": "",
    "foreign/retrieval/__init__.py": "",
    "foreign/retrieval/dg.toml": (
        'directory_type = "project"\n[project]\nroot_module = "foreign.retrieval"\n'
        'code_location_target_module = "foreign.definitions"\n'
    ),
    "foreign/definitions.py": (
        "from pathlib import Path\n"
        "import dagster as dg\n"
        "from cir_assets.definitions import build_definitions\n\n"
        "@dg.asset\n"
        "def orders() -> None: ...\n\n"
        "@dg.definitions\n"
        "def defs() -> dg.Definitions:\n"
        "    return dg.Definitions.merge(\n"
        "        dg.Definitions(assets=[orders]), build_definitions(Path(__file__).parent / 'retrieval')\n"
        "    )\n"
    ),
}
"""Somebody else's project, into which the data sets are put as docs/your-own-catalogue.md says."""


@pytest.fixture
def foreign(working_folder: Path) -> Path:
    """That project, with one data set."""
    write_project(working_folder / "made_for_it", "wardrobe", fit_wardrobe())
    for file, text in FOREIGN.items():
        (working_folder / file).parent.mkdir(parents=True, exist_ok=True)
        (working_folder / file).write_text(text)
    (working_folder / "made_for_it" / "made_for_it" / "defs").rename(
        working_folder / "foreign" / "retrieval" / "defs"
    )
    sys.path.insert(0, str(working_folder))
    return working_folder


def forget(package: str) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[module]


def test_the_data_sets_merge_with_the_definitions_of_a_project_that_is_there(foreign: Path) -> None:
    from foreign.definitions import defs  # type: ignore[import-not-found]

    graph = defs().resolve_asset_graph()
    forget("foreign")
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert {"orders", "wardrobe/raw", "leaderboard"} <= keys


def test_two_code_locations_stand_in_one_workspace(foreign: Path) -> None:
    """The foreign project as it is, and the data sets as a project of their own."""
    write_project(foreign / "my_shop", "wardrobe", fit_wardrobe())
    begin_storage(foreign / "storage")
    (foreign / "workspace.yaml").write_text(
        "load_from:\n"
        "  - python_module: {module_name: foreign.definitions, working_directory: .}\n"
        "  - python_module: {module_name: my_shop.definitions, working_directory: my_shop}\n"
    )
    validated = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=foreign,
        capture_output=True,
        text=True,
        check=False,
    )
    assert validated.returncode == 0, validated.stderr[-3000:]
    assert "All code locations passed validation" in validated.stdout + validated.stderr


def test_the_components_stand_among_a_projects_own(foreign: Path) -> None:
    """Loaded by Dagster's own ``load_from_defs_folder``, beside an asset in Python; two data sets share one storage."""
    defs = foreign / "foreign" / "retrieval" / "defs"
    (defs / "orders.py").write_text("import dagster as dg\n\n@dg.asset\ndef orders() -> None: ...\n")
    (defs / "second").mkdir()
    (defs / "second" / "defs.yaml").write_text((defs / "wardrobe" / "defs.yaml").read_text())
    loaded = dg.load_from_defs_folder(path_within_project=foreign / "foreign" / "retrieval")
    forget("foreign")
    dg.Definitions.validate_loadable(loaded)
    keys = {key.to_user_string() for key in loaded.resolve_asset_graph().get_all_asset_keys()}
    assert {"orders", "wardrobe/raw", "second/raw", "backbones/tiny_clip"} <= keys
