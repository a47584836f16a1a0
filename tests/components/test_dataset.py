"""One YAML file makes one data set's graph, and a mistake in it is told with file, line and key."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import dagster as dg

from tests.components.conftest import WARDROBE, refusal
from tests.trial_project import TrialProject


def test_every_backbone_and_recipe_becomes_a_pipeline(project: TrialProject) -> None:
    project.write_backbones(
        {name: {"kind": "embedded", "place": "tiny_clip"} for name in ("tiny_clip", "second")}
    )
    project.write_dataset(
        "wardrobe", source=WARDROBE, backbones=["tiny_clip", "second"], recipes={"paper": {}, "quick": {}}
    )
    graph = project.definitions().resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    models = ["text_encoder", "combiner_frozen_clip", "combiner"]
    steps = [*models, "evaluation", "report", "challenger", "champion", "search"]
    assert keys == {
        "leaderboard",
        "backbones/tiny_clip",
        "backbones/second",
        *(f"wardrobe/{step}" for step in ("raw", "images", "triplets")),
        *(f"wardrobe/{backbone}/image_features" for backbone in ("tiny_clip", "second")),
        *(
            f"wardrobe/{backbone}/{recipe}/{step}"
            for backbone in ("tiny_clip", "second")
            for recipe in ("paper", "quick")
            for step in steps
        ),
    }


def test_a_hyper_parameter_changes_only_its_own_steps_code_version(project: TrialProject) -> None:
    def versions(**combiner: Any) -> dict[str, str | None]:
        project.write_dataset("wardrobe", source=WARDROBE, recipes={"quick": {"combiner": combiner}})
        graph = project.definitions().resolve_asset_graph()
        return {key.to_user_string(): graph.get(key).code_version for key in graph.get_all_asset_keys()}

    before, after = versions(), versions(epochs=7)
    assert {key for key in before if before[key] != after[key]} == {
        "wardrobe/tiny_clip/quick/combiner",
        "wardrobe/tiny_clip/quick/combiner_frozen_clip",
    }


def test_a_backbone_nobody_defines_is_refused_with_its_line(project: TrialProject) -> None:
    project.write_dataset("wardrobe", source=WARDROBE, backbones=["resnet"])
    message = refusal(project)
    line = 1 + project.yaml("wardrobe").read_text().splitlines().index("  - resnet")
    assert f"{project.yaml('wardrobe')}:{line}" in message
    assert "'resnet'" in message
    assert "tiny_clip" in message


def test_a_share_outside_0_to_1_is_refused_with_its_line(project: TrialProject) -> None:
    embedded = {"kind": "embedded", "place": "tiny_clip", "share_of_text": 1.2}
    project.write_backbones({"tiny_clip": embedded})
    project.write_dataset("wardrobe", source=WARDROBE)
    message = refusal(project)
    [line] = [
        n for n, said in enumerate(project.yaml("backbones").read_text().splitlines(), 1) if "1.2" in said
    ]
    assert f"{project.yaml('backbones')}:{line}" in message
    assert "less than or equal to 1" in message


def test_a_recipe_that_fits_itself_is_trained_anew_when_the_paper_s_would_be(project: TrialProject) -> None:
    project.write_dataset("wardrobe", source=WARDROBE, recipes={"auto": "auto", "paper": {}})
    graph = project.definitions().resolve_asset_graph()
    for model in ("text_encoder", "combiner", "combiner_frozen_clip"):
        auto, paper = (
            graph.get(dg.AssetKey(["wardrobe", "tiny_clip", recipe, model])) for recipe in ("auto", "paper")
        )
        assert {key.to_user_string().replace("/auto/", "/paper/") for key in auto.parent_keys} == {
            key.to_user_string() for key in paper.parent_keys
        }
        assert auto.code_version != paper.code_version


def test_a_folder_that_cannot_be_a_name_is_refused(project: TrialProject) -> None:
    project.write_dataset("My-Clothes", source=WARDROBE)
    assert "rename 'My-Clothes'" in refusal(project)


def test_loading_definitions_imports_neither_torch_nor_transformers() -> None:
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from cir_assets.definitions import defs; defs(); "
            "print(sorted({'torch', 'transformers', 'plotly', 'PIL'} & set(sys.modules)))",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.splitlines()[-1] == "[]"


def test_one_name_stands_for_one_pipeline(project: TrialProject) -> None:
    project.write_dataset(
        "shop",
        source=WARDROBE | {"kind": "wardrobe"},
        recipes={"same": {}},
        models_of={"same": {"dataset": "wardrobe", "recipe": "quick"}},
    )
    assert "'same' stands under more than one of recipes, models_of and" in refusal(project)
