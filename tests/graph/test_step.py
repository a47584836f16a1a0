"""From a step to its asset."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from cir_assets.graph.resources import StorageFolder
from cir_assets.graph.step import by_a_person, step_asset
from cir_assets.pipeline.checks import StepCheck
from cir_assets.pipeline.step import Plan, Refused, Step, Work
from cir_assets.store.made import Check, Made, NotMade
from tests.trial_project import metadata_of

SENSOR = {"dagster/sensor_name": "shop_files"}
SCHEDULE = {"dagster/schedule_name": "shop_refresh"}


def test_a_run_a_person_asks_for_once_more_is_theirs_and_a_retry_is_not() -> None:
    again = {**SENSOR, "dagster/parent_run_id": "a"}
    assert by_a_person({})
    assert not by_a_person(SENSOR)
    assert not by_a_person(SCHEDULE)
    assert by_a_person(again)
    assert not by_a_person({**again, "dagster/retry_number": "1"})


def test_a_made_step_becomes_an_asset_that_tells_version_checks_and_links(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    def plan(work: Work) -> Plan:
        outcome = Check(False, "2 pictures are missing", {"missing": 2})
        return Plan({}, lambda version: Made("v1", {"folder": {"path": "/x"}, "rows": 3}, {"whole": outcome}))

    asset = step_asset(
        Step("shop/images", 1, plan),
        of="shop",
        kinds={"polars"},
        description="Pictures.",
        checks=[StepCheck("whole", "No picture is missing.", lambda: Check(True, ""), warns=True)],
    )
    storage = StorageFolder(folder=str(tmp_path))
    results = [dg.materialize([asset], instance=instance, resources={"storage": storage}) for _ in range(2)]
    first, second = (metadata_of(each, "shop/images") for each in results)
    assert (first["rows"], first["folder"], first["reused"], second["reused"]) == (3, "/x", False, True)
    [said] = results[0].get_asset_check_evaluations()
    assert (said.passed, said.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert said.description == "2 pictures are missing"


def test_a_step_that_refuses_fails_without_a_retry_and_what_is_not_there_is_told(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    for error in (Refused("the champion stays", {}), NotMade("materialize shop/raw first")):

        def plan(work: Work, error: Exception = error) -> Plan:
            raise error

        asset = step_asset(Step("shop/champion", 1, plan), of="shop", kinds=set(), description="Serves.")
        result = dg.materialize(
            [asset],
            instance=instance,
            resources={"storage": StorageFolder(folder=str(tmp_path))},
            raise_on_error=False,
        )
        [failure] = [event for event in result.all_events if event.is_step_failure]
        assert str(error) in str(failure.step_failure_data.error)
