"""What is wrong with one data set is its own matter: the others load, run and are published."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import dagster as dg
import duckdb
import pytest

from tests.components.test_broken import wrong
from tests.trial_project import TrialProject

WARDROBE = {"kind": "wardrobe", "size": 1000}


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


@pytest.fixture(scope="module")
def published_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[TrialProject, dg.DagsterInstance, dg.ExecuteInProcessResult]]:
    """One run over a sound data set, one whose server is dead and one whose pictures are none."""
    folder = tmp_path_factory.mktemp("three")
    project = TrialProject(folder / "project")
    project.write_dataset("wardrobe", source=WARDROBE)
    dead = "http://127.0.0.1:9"
    fetch = {"annotations": dead, "picture_address": f"{dead}/{{image}}.jpg", "attempts": 1}
    project.write_dataset("server", source={"kind": "fashioniq", "fetch": fetch})
    (folder / "pictures").mkdir()
    (folder / "pictures" / "torn.jpg").write_bytes(b"no picture")
    project.write_dataset("shop", source={"kind": "catalogue", "pictures": str(folder / "pictures")})
    with dg.DagsterInstance.ephemeral() as instance:
        everything = ('key:"wardrobe/*"', 'key:"server/*"', 'key:"shop/*"', 'key:"leaderboard"')
        yield project, instance, project.materialize(instance, *everything, raise_on_error=False)


def publish(project: TrialProject, instance: dg.DagsterInstance) -> set[tuple[str, str]]:
    """Make the leaderboard with whatever YAML there is; the data sets with evaluations and with decisions."""
    definitions = project.definitions(set_broken_aside=True)
    assert (
        definitions.resolve_implicit_global_asset_job_def()
        .execute_in_process(instance=instance, asset_selection=[dg.AssetKey("leaderboard")])
        .success
    )
    with duckdb.connect(str(project.storage.evaluation), read_only=True) as published:
        return set(
            published.sql(
                "SELECT 'evaluations', dataset FROM evaluations UNION SELECT 'promotions', dataset FROM promotions "
                "UNION SELECT 'images', dataset FROM images"
            ).fetchall()
        )


ALL = {("evaluations", "wardrobe"), ("promotions", "wardrobe"), ("images", "wardrobe")}


def test_a_dead_server_and_a_failing_check_stop_their_own_data_sets_alone(
    published_once: tuple[TrialProject, dg.DagsterInstance, dg.ExecuteInProcessResult],
) -> None:
    project, instance, result = published_once
    assert {e.step_key for e in result.all_events if e.is_step_failure} == {"server__raw", "shop__raw"}
    assert not {
        e.step_key for e in result.all_events if e.is_step_skipped and str(e.step_key).startswith("wardrobe")
    }
    assert result.asset_materializations_for_node("wardrobe__tiny_clip__quick__search")
    # In one run with those that failed it had to be left out; the condition asks for it.
    asked = dg.evaluate_automation_conditions(project.definitions(), instance).results
    assert dg.AssetKey("leaderboard") in {each.key for each in asked if not each.true_subset.is_empty}
    assert publish(project, instance) == ALL


def test_a_data_set_that_is_set_aside_stays_published_and_one_that_is_gone_does_not(
    published_once: tuple[TrialProject, dg.DagsterInstance, dg.ExecuteInProcessResult],
) -> None:
    project, instance, _ = published_once
    project.yaml("wardrobe").write_text("type: [")
    assert publish(project, instance) == ALL
    shutil.rmtree(project.yaml("wardrobe").parent)
    assert publish(project, instance) == set()
