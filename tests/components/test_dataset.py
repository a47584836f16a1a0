"""One YAML file makes one data set's graph, and a mistake in it is told with file, line and key."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import dagster as dg
import pytest
from dagster.components.core.component_tree import ComponentTreeException

from tests.trial_project import TrialProject

WARDROBE = {"kind": "wardrobe", "size": 1000}


def refusal(project: TrialProject) -> str:
    with pytest.raises((ValueError, ComponentTreeException)) as caught:
        project.definitions()
    messages = []
    error: BaseException | None = caught.value
    while error is not None:
        messages.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(messages)


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


def test_what_depends_on_what(project: TrialProject) -> None:
    project.write_dataset("wardrobe", source=WARDROBE, recipes={"paper": {}})
    graph = project.definitions().resolve_asset_graph()

    def parents(key: str) -> set[str]:
        return {parent.to_user_string() for parent in graph.get(dg.AssetKey(key.split("/"))).parent_keys}

    pipeline = "wardrobe/tiny_clip/paper"
    data = {"wardrobe/triplets", "wardrobe/tiny_clip/image_features"}
    assert parents("wardrobe/images") == {"wardrobe/raw"}
    assert parents("wardrobe/tiny_clip/image_features") == {"wardrobe/images", "backbones/tiny_clip"}
    assert parents(f"{pipeline}/text_encoder") == data
    assert parents(f"{pipeline}/combiner") == data | {f"{pipeline}/text_encoder"}
    assert parents(f"{pipeline}/combiner_frozen_clip") == data
    assert parents(f"{pipeline}/challenger") == parents(f"{pipeline}/evaluation")
    assert parents(f"{pipeline}/champion") == {f"{pipeline}/challenger"}
    assert parents(f"{pipeline}/search") == {
        f"{pipeline}/challenger",
        "wardrobe/images",
        "wardrobe/triplets",
        "wardrobe/tiny_clip/image_features",
    }
    assert parents("leaderboard") == {
        f"{pipeline}/evaluation",
        f"{pipeline}/challenger",
        "wardrobe/triplets",
    }


def test_only_roots_wait_for_a_person(project: TrialProject) -> None:
    project.write_dataset("wardrobe", source=WARDROBE)
    graph = project.definitions().resolve_asset_graph()
    without = {
        key.to_user_string()
        for key in graph.get_all_asset_keys()
        if graph.get(key).automation_condition is None
    }
    assert without == {"wardrobe/raw", "backbones/tiny_clip"}


def test_every_asset_explains_itself(project: TrialProject) -> None:
    project.write_dataset("wardrobe", source=WARDROBE)
    graph = project.definitions().resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert len(node.description or "") > 60, key
        assert node.kinds, key
        assert node.owners, key
        assert node.code_version, key
        assert node.group_name in ("wardrobe", "backbones", "leaderboard"), key


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


def test_a_schedule_refreshes_the_root(project: TrialProject) -> None:
    project.write_dataset(
        "wardrobe", source=WARDROBE, schedule={"cron": "0 3 * * 1", "timezone": "Europe/Rome"}
    )
    schedule = project.definitions().resolve_schedule_def("wardrobe_refresh")
    assert schedule.cron_schedule == "0 3 * * 1"
    assert schedule.execution_timezone == "Europe/Rome"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_the_sensor_that_follows_changes_runs_from_the_start(project: TrialProject) -> None:
    project.write_dataset("wardrobe", source=WARDROBE)
    sensor = project.definitions().resolve_sensor_def("upstream_changes")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


@pytest.mark.parametrize(
    ("attributes", "key", "said"),
    [
        ({"recipes": {"quick": {"combiner": {"epoch": 3}}}}, "epoch", "Extra inputs are not permitted"),
        ({"recipes": {"quick": {"combiner": {"epochs": "many"}}}}, "epochs", "valid integer"),
        ({"recipes": {"quick": {"text_encoder": {"learning_rate": -1}}}}, "learning_rate", "greater than 0"),
        ({"recipes": {"quick": "automatic"}}, "quick", "'automatic' is no recipe: say auto"),
        (
            {"recipes": {"quick": {"combiner": {"alternatives": [{"logit_scale": 0}]}}}},
            "logit_scale",
            "greater than 0",
        ),
        ({"source": {"kind": "wardrobe", "size": 10}}, "size", "greater than or equal to 1000"),
        ({"source": {"kind": "wardrob"}}, "source", "'wardrobe'"),
        ({"backbone": ["tiny_clip"]}, "backbone", "Extra inputs are not permitted"),
        ({"protocols": ["recall"]}, "- recall", "'fashioniq'"),
        ({"schedule": {"cron": "0 3 * *"}}, "cron", "five fields"),
        ({"schedule": {"cron": "0 25 * * 1"}}, "cron", "'0 25 * * 1' is no cron expression"),
        (
            {"schedule": {"cron": "0 3 * * 1", "timezone": "Europe/Roma"}},
            "timezone",
            "'Europe/Roma' is no IANA time zone",
        ),
    ],
)
def test_a_wrong_key_type_or_range_is_refused_with_file_line_and_key(
    project: TrialProject, attributes: dict[str, Any], key: str, said: str
) -> None:
    project.write_dataset("wardrobe", **{"source": WARDROBE, **attributes})
    message = refusal(project)
    lines = project.yaml("wardrobe").read_text().splitlines()
    assert said in message
    assert any(
        f"{project.yaml('wardrobe')}:{number}" in message
        for number, line in enumerate(lines, 1)
        if key in line
    ), message


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


def test_a_data_set_without_a_recipe_is_trained_as_in_the_paper(project: TrialProject) -> None:
    project.write_dataset("shop", source=WARDROBE, recipes={})
    keys = {key.to_user_string() for key in project.definitions().resolve_asset_graph().get_all_asset_keys()}
    assert "shop/tiny_clip/paper/combiner" in keys
