"""From a step to its asset."""

from __future__ import annotations

from cir_assets.graph.step import by_a_person

SENSOR = {"dagster/sensor_name": "shop_files"}


SCHEDULE = {"dagster/schedule_name": "shop_refresh"}


def test_a_run_a_person_asks_for_once_more_is_theirs_and_a_retry_is_not() -> None:
    again = {**SENSOR, "dagster/parent_run_id": "a"}
    assert by_a_person({})
    assert not by_a_person(SENSOR)
    assert not by_a_person(SCHEDULE)
    assert by_a_person(again)
    assert not by_a_person({**again, "dagster/retry_number": "1"})
