"""A project written whole stands beside and within others: its data sets merge, its components are Dagster's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from cir_assets.components.fitting import fit_wardrobe
from cir_assets.starting.project import write_project
from cir_assets.store.home import begin_storage

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
