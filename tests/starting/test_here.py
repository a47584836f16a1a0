"""A command that names no graph means that of the project it is run in."""

from __future__ import annotations

from pathlib import Path

from cir_assets.starting.here import dataset_here, module_here


def test_without_a_project_a_command_means_what_comes_with_the_package(working_folder: Path) -> None:
    assert (module_here(), dataset_here()) == ("cir_assets.definitions", "wardrobe")
    (working_folder / "pyproject.toml").write_text("[project]\nname = 'another'\n")
    assert module_here() == "cir_assets.definitions"


def test_in_a_project_a_command_means_its_graph_and_its_first_data_set(working_folder: Path) -> None:
    (working_folder / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "my_shop"\n')
    assert (module_here(), dataset_here()) == ("my_shop.definitions", "wardrobe")
    for name in ("shoes", "backbones", "dresses"):
        folder = working_folder / "my_shop" / "defs" / name
        folder.mkdir(parents=True)
        (folder / "defs.yaml").touch()
    assert dataset_here() == "dresses"


def test_dg_toml_comes_first_and_may_name_the_module_and_what_cannot_be_read_says_nothing(
    working_folder: Path,
) -> None:
    (working_folder / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "another"\n')
    settings = working_folder / "dg.toml"
    settings.write_text('[project]\nroot_module = "shop"\ncode_location_target_module = "shop.graph"\n')
    assert module_here() == "shop.graph"
    settings.write_text("[project\n")
    assert module_here() == "another.definitions"
