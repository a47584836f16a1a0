"""A data set's root is refreshed as its YAML says."""

from __future__ import annotations

import dagster as dg

from tests.trial_project import TrialProject

WARDROBE = {"kind": "wardrobe", "size": 1000}


def test_a_schedule_refreshes_the_root(project: TrialProject) -> None:
    project.write_dataset(
        "wardrobe", source=WARDROBE, schedule={"cron": "0 3 * * 1", "timezone": "Europe/Rome"}
    )
    schedule = project.definitions().resolve_schedule_def("wardrobe_refresh")
    assert schedule.cron_schedule == "0 3 * * 1"
    assert schedule.execution_timezone == "Europe/Rome"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
