"""When things are made again: the one condition, its sensor, and the schedules of data sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import AutomationCondition as Condition

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph


def on_upstream_change(*, waits: bool = True, may_be_missing: Sequence[dg.AssetKey] = ()) -> Condition[Any]:
    """The condition on every asset below the roots: made again when what it is made from changed.

    It fires when

    - a dependency's *data version* changed: a dependency that was made again with the same content does
      not count, and neither does one made in a run that also made this asset;
    - this asset's own code version changed (its code generation or its resolved configuration);
    - this asset is newly missing, which is how a new pipeline starts by itself;
    - its last run failed, once: a second failure in a row is left for a person. A blocking check of its own
      that failed is no reason to try again: the same would come out.

    It holds while a dependency is missing, is being made, or fails a blocking check, and while this asset
    is itself being made. What fired stays remembered until a run is asked for, and a change that lands
    after the asking is remembered for the next run: ``since_last_handled`` would forget it when the running
    one finishes.

    With ``waits=False`` no dependency holds it, whatever its state: the leaderboard waits for nobody. Those of
    ``may_be_missing`` do not hold it while they are missing.
    """
    dependency_changed = Condition.any_deps_match(
        Condition.data_version_changed() & ~Condition.executed_with_root_target()
    ).with_label("a dependency's content changed")
    changed = dependency_changed | Condition.code_version_changed() | Condition.missing().newly_true()
    # From the first failure on, until a success or a change gives a reason to try anew.
    refused = Condition.any_checks_match(Condition.check_failed(), blocking_only=True)
    failing = (Condition.execution_failed() & ~refused).since(Condition.newly_updated() | changed)
    fired = (changed | failing.newly_true()).with_label("changed, newly missing or failed once")
    # A change seen in the very tick that follows the asking must not be wiped out by it.
    remembered = fired.since(Condition.newly_requested() & ~fired).with_label("not yet asked for")
    held: Any = Condition.in_progress()
    if waits:
        held = (
            held
            | Condition.any_deps_in_progress()
            | Condition.any_deps_missing().ignore(dg.AssetSelection.assets(*may_be_missing))
            | Condition.any_deps_match(
                Condition.any_checks_match(Condition.check_failed(), blocking_only=True)
            )
        )
    condition: Condition[Any] = (remembered & ~held.with_label("held")).with_label("on_upstream_change")
    return condition


def automation_sensor(every_seconds: int) -> dg.AutomationConditionSensorDefinition:
    """The sensor that evaluates the condition of every asset; running from the start."""
    return dg.AutomationConditionSensorDefinition(
        "upstream_changes",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=every_seconds,
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


def stale_sweep() -> dg.SensorDefinition:
    """The safety net: once an hour, and when the daemon starts, whatever is stale and free to be made is asked for."""

    @dg.sensor(
        name="stale_sweep",
        target=dg.AssetSelection.all() - dg.AssetSelection.all().roots(),
        minimum_interval_seconds=3600,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Once an hour, and when the daemon starts: assets whose code, configuration or dependencies' content "
            "changed since they were made, as while no daemon was there to see it. What failed, waits, or was never "
            "made is left."
        ),
    )
    def sweep(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        assert context.repository_def is not None
        stale, left = stale_assets(context.instance, context.repository_def.asset_graph)
        also = "".join(f"; left alone: {key.to_user_string()} ({why})" for key, why in left.items())
        if not stale:
            return dg.SkipReason(f"nothing is stale and free to be made{also}")
        names = ", ".join(key.to_user_string() for key in stale)
        context.log.info(f"stale: {names}{also}")
        return dg.RunRequest(asset_selection=stale, tags={"because": f"stale: {names}"[:250]})

    return sweep


def stale_assets(
    instance: dg.DagsterInstance, graph: BaseAssetGraph[Any]
) -> tuple[list[dg.AssetKey], dict[dg.AssetKey, str]]:
    """What was made from something that has changed since.

    Returns:
        Assets free to be made again, and those that are not, with the reason. Assets never made, and roots, which
        only a person or a schedule refreshes, are in neither.
    """
    # The resolver behind the UI's "Unsynced"; Dagster has no public name for it.
    from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
    from dagster._core.loader import LoadingContextForTest

    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    free: list[dg.AssetKey] = []
    left: dict[dg.AssetKey, str] = {}
    for key in sorted(graph.materializable_asset_keys - graph.root_materializable_asset_keys):
        if resolver.get_status(key) is not StaleStatus.STALE:
            continue
        if why := _why_not_now(instance, graph, key):
            left[key] = why
        else:
            free.append(key)
    return free, left


def run_under_way(instance: dg.DagsterInstance, key: dg.AssetKey) -> dg.DagsterRun | None:
    """The run that makes an asset now, or is about to; None where its newest run has ended."""
    records = instance.get_asset_records([key])
    newest = records[0].asset_entry.last_run_id if records else None
    run = instance.get_run_by_id(newest) if newest is not None else None
    return run if run is not None and not run.is_finished else None


def _why_not_now(instance: dg.DagsterInstance, graph: BaseAssetGraph[Any], key: dg.AssetKey) -> str | None:
    """Why a stale asset should not be asked for; None where nothing speaks against it."""
    if run_under_way(instance, key) is not None:
        return "it is being made"
    [record] = instance.get_asset_records([key])
    entry = record.asset_entry
    made_by = entry.last_materialization.run_id if entry.last_materialization is not None else None
    if entry.last_run_id is not None and entry.last_run_id != made_by:
        run = instance.get_run_by_id(entry.last_run_id)
        if run is not None and run.status is dg.DagsterRunStatus.FAILURE:
            return "its last run failed"
    parents = graph.get(key).parent_keys
    for parent in sorted(parents):
        if run_under_way(instance, parent) is not None:
            return f"{parent.to_user_string()}, which it is made from, is being made"
    missing = [parent for parent in parents if instance.get_latest_materialization_event(parent) is None]
    if missing and graph.get(key).automation_condition is not None and len(missing) == len(parents):
        return "its dependencies are missing"
    checks = [
        check for check in graph.asset_check_keys if check.asset_key in parents and graph.get(check).blocking
    ]
    for check, latest in instance.event_log_storage.get_latest_asset_check_execution_by_key(checks).items():
        said = latest.evaluation
        # Of a run that died before its checks there is only the plan to evaluate them.
        if isinstance(said, dg.AssetCheckEvaluation) and not said.passed and _blocks(said):
            return f"the blocking check {check.name} of {check.asset_key.to_user_string()} fails"
    return None


def _blocks(evaluation: dg.AssetCheckEvaluation) -> bool:
    return evaluation.severity is dg.AssetCheckSeverity.ERROR
