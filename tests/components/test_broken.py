"""A data set whose YAML is wrong stands aside, and says with the same words why."""

from __future__ import annotations

import dagster as dg
import pytest

from tests.components.conftest import WARDROBE
from tests.trial_project import TrialProject


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
