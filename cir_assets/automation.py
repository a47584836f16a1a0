"""When things are made again: the one condition, its sensor, and the schedules of data sets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dagster as dg
from dagster import AutomationCondition as Condition


def on_upstream_change(*, wait_for_missing: bool = True) -> Condition[Any]:
    """The condition on every asset below the roots: made again when what it is made from changed.

    It fires when

    - a dependency's *data version* changed: a dependency that was made again with the same content does
      not count, and neither does one made in a run that also made this asset;
    - this asset's own code version changed (its code generation or its resolved configuration);
    - this asset is newly missing, which is how a new pipeline starts by itself;
    - its last run failed, once: a second failure in a row is left for a person.

    It holds while a dependency is missing, is being made, or fails a blocking check, and while this asset
    is itself being made. What fired stays remembered until a run is asked for, and a change that lands
    after the asking is remembered for the next run: ``since_last_handled`` would forget it when the running
    one finishes.

    With ``wait_for_missing=False`` missing dependencies do not hold it (a leaderboard waits for nobody).
    """
    dependency_changed = Condition.any_deps_match(
        Condition.data_version_changed() & ~Condition.executed_with_root_target()
    ).with_label("a dependency's content changed")
    changed = dependency_changed | Condition.code_version_changed() | Condition.missing().newly_true()
    # From the first failure on, until a success or a change gives a reason to try anew.
    failing = Condition.execution_failed().since(Condition.newly_updated() | changed)
    fired = (changed | failing.newly_true()).with_label("changed, newly missing or failed once")
    # A change seen in the very tick that follows the asking must not be wiped out by it.
    remembered = fired.since(Condition.newly_requested() & ~fired).with_label("not yet asked for")
    held = (
        Condition.any_deps_in_progress()
        | Condition.in_progress()
        | Condition.any_deps_match(Condition.any_checks_match(Condition.check_failed(), blocking_only=True))
    )
    if wait_for_missing:
        held = held | Condition.any_deps_missing()
    return (remembered & ~held.with_label("held")).with_label("on_upstream_change")


def automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """The sensor that evaluates the condition of every asset; running from the start."""
    return dg.AutomationConditionSensorDefinition(
        "upstream_changes",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Asks for a run of every asset whose dependencies, code or configuration changed.",
    )


def refresh_schedule(
    dataset: str, cron: str, timezone: str, roots: Iterable[dg.AssetKey]
) -> dg.ScheduleDefinition:
    """The schedule of one data set: it refreshes the roots, and the condition does the rest.

    A tick missed while the daemon was down is caught up by Dagster once, not once for each.
    """
    return dg.ScheduleDefinition(
        name=f"{dataset}_refresh",
        cron_schedule=cron,
        execution_timezone=timezone,
        target=dg.AssetSelection.assets(*roots),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Refreshes the roots of {dataset}; whatever changed below them follows by itself.",
    )
