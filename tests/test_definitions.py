"""What is wrong with one data set is its own matter: the others load, run and are published."""

from __future__ import annotations

import dagster as dg
import duckdb
import pytest
from dagster.components.core.component_tree import ComponentTreeException

from cir_assets.components.loading import explained
from tests.trial_project import TrialProject

WARDROBE = {"kind": "wardrobe", "size": 1000}


def groups(definitions: dg.Definitions) -> set[str]:
    graph = definitions.resolve_asset_graph()
    return {str(graph.get(key).group_name) for key in graph.materializable_asset_keys}


def wrong(definitions: dg.Definitions, name: str) -> str:
    """What the asset that stands for a broken data set says."""
    key = dg.AssetKey([name, "broken_definition"])
    return definitions.resolve_asset_graph().get(key).description or ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type: cir_assets.components.dataset.Dataset\nattributes:\n  backbones: [tiny_clip\n", "defs.yaml"),
        ("type: cir_assets.components.dataset.Dataset\nattributes:\n  backbone: [tiny_clip]\n", "backbone"),
        ("type: cir_assets.components.dataset.Datset\nattributes: {}\n", "Datset"),
        ("", "No components found"),
    ],
    ids=["no YAML", "a wrong key", "an unknown component", "an empty file"],
)
def test_a_broken_yaml_sets_its_own_data_set_aside_and_says_why(
    project: TrialProject, text: str, said: str
) -> None:
    project.write_dataset("wardrobe", source=WARDROBE)
    project.write_dataset("broken", source=WARDROBE)
    project.yaml("broken").write_text(text)
    definitions = project.definitions(set_broken_aside=True)
    assert {"wardrobe", "broken", "leaderboard"} <= groups(definitions)
    assert said in wrong(definitions, "broken")
    assert definitions.resolve_sensor_def("stale_sweep")


def test_who_evaluates_the_models_of_a_broken_data_set_is_set_aside_too(project: TrialProject) -> None:
    project.write_dataset("wardrobe", source=WARDROBE)
    project.write_dataset("trained", source=WARDROBE)
    project.write_dataset(
        "elsewhere", source=WARDROBE, models_of={"trained": {"dataset": "trained", "recipe": "quick"}}
    )
    project.yaml("trained").write_text("type: [")
    definitions = project.definitions(set_broken_aside=True)
    assert "which no data set trains or imports" in wrong(definitions, "elsewhere")
    assert f"{project.yaml('elsewhere')}:" in wrong(definitions, "elsewhere")
    keys = definitions.resolve_asset_graph().get_all_asset_keys()
    assert not [key for key in keys if key.path[:2] == ["elsewhere", "tiny_clip"]]
    assert dg.AssetKey(["wardrobe", "raw"]) in keys


def test_the_asset_that_stands_for_it_fails_with_the_same_words(
    project: TrialProject, instance: dg.DagsterInstance
) -> None:
    project.write_dataset("wardrobe", source={"kind": "wardrobe", "size": 3})
    definitions = project.definitions(set_broken_aside=True)
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(["wardrobe", "broken_definition"])],
        raise_on_error=False,
    )
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "greater than or equal to 1000" in str(failure.step_failure_data.error)


def test_backbones_are_everybodys_so_a_mistake_there_is_raised(project: TrialProject) -> None:
    project.write_dataset("wardrobe", source=WARDROBE)
    project.write_backbones({"tiny_clip": {"kind": "embeded", "place": "tiny_clip"}})
    with pytest.raises(ComponentTreeException) as caught:
        project.definitions(set_broken_aside=True)
    assert f"{project.yaml('backbones')}:" in explained(caught.value)


def test_a_dead_source_fails_its_own_data_set_alone(
    project: TrialProject, instance: dg.DagsterInstance
) -> None:
    project.write_dataset("wardrobe", source=WARDROBE)
    gone = project.folder / "gone"
    project.write_dataset("shop", source={"kind": "catalogue", "pictures": str(gone)})
    failed = project.materialize(instance, 'key:"shop/raw"', raise_on_error=False)
    assert not failed.success
    assert project.materialize(instance, 'group:"wardrobe"', 'key:"leaderboard"').success
    with duckdb.connect(str(project.storage.evaluation), read_only=True) as published:
        assert published.sql("SELECT DISTINCT dataset FROM evaluations").fetchall() == [("wardrobe",)]
