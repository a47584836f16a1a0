"""Schedules: what happens by the clock. They refresh roots alone; everything below follows by its condition."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from cir_assets.graph.step import asset_key


def refresh_schedule(dataset: str, cron: str, timezone: str, roots: Iterable[str]) -> dg.ScheduleDefinition:
    """The schedule of one data set: it refreshes the roots, and the condition does the rest.

    A tick missed while the daemon was down is caught up by Dagster once, not once for each.
    """
    return dg.ScheduleDefinition(
        name=f"{dataset}_refresh",
        cron_schedule=cron,
        execution_timezone=timezone,
        target=dg.AssetSelection.assets(*map(asset_key, roots)),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Refreshes the roots of {dataset}; whatever changed below them follows by itself.",
    )
