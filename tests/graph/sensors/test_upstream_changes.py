"""The sensor that follows changes."""

from __future__ import annotations

import dagster as dg

from tests.trial_project import TrialProject

WARDROBE = {"kind": "wardrobe", "size": 1000}


def test_the_sensor_that_follows_changes_runs_from_the_start(project: TrialProject) -> None:
    project.write_dataset("wardrobe", source=WARDROBE)
    sensor = project.definitions().resolve_sensor_def("upstream_changes")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
