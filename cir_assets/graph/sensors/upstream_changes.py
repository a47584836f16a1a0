"""``upstream_changes``: evaluates every asset's condition."""

from __future__ import annotations

import dagster as dg


def upstream_changes_sensor(every_seconds: int) -> dg.AutomationConditionSensorDefinition:
    """The sensor that evaluates the condition of every asset; running from the start."""
    return dg.AutomationConditionSensorDefinition(
        "upstream_changes",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=every_seconds,
        description="Asks for a run of every asset whose dependencies, code or configuration changed.",
    )
