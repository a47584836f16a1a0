"""``dead_runs``: ends runs whose process is gone."""

from __future__ import annotations

import dagster as dg

from cir_assets.graph.opening import opened_instance
from cir_assets.graph.recovery import end_dead_runs
from cir_assets.graph.resources import StorageFolder


def dead_runs_sensor() -> dg.SensorDefinition:
    """Looks for dead runs all the time, and when the daemon starts."""

    @dg.sensor(
        name="dead_runs",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Every 30 seconds, and when the daemon starts: runs whose process on this machine is gone are marked as "
            "failed, or canceled where that was asked for, and their pool places are freed."
        ),
    )
    def dead_runs(context: dg.SensorEvaluationContext, storage: StorageFolder) -> dg.SkipReason:
        said = end_dead_runs(opened_instance(context), storage.storage.heartbeats)
        for each in said:
            context.log.warning(each)
        return dg.SkipReason("; ".join(said) or "every run that is under way has its process")

    return dead_runs
