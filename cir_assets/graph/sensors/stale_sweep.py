"""``stale_sweep``: the safety net for changes that nobody was there to see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from cir_assets.graph.private import staleness
from cir_assets.graph.step import INCOMPLETE

if TYPE_CHECKING:
    from cir_assets.graph.private import AssetGraph


def stale_sweep_sensor() -> dg.SensorDefinition:
    """The safety net: once an hour, and when the daemon starts, whatever is stale and free to be made is asked for."""

    @dg.sensor(
        name="stale_sweep",
        target=dg.AssetSelection.all() - dg.AssetSelection.all().roots(),
        minimum_interval_seconds=3600,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Once an hour, and when the daemon starts: assets whose code, configuration or dependencies' content "
            "changed since they were made, as while no daemon was there to see it, and those that left something for "
            "another time, as pictures that could not be read then. What failed, waits, or was never made is left."
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
    instance: dg.DagsterInstance, graph: AssetGraph
) -> tuple[list[dg.AssetKey], dict[dg.AssetKey, str]]:
    """What was made from something that has changed since, or left something for another time.

    Returns:
        Assets free to be made again, and those that are not, with the reason. Assets never made, and roots, which
        only a person or a schedule refreshes, are in neither.
    """
    is_stale = staleness(instance, graph)
    free: list[dg.AssetKey] = []
    left: dict[dg.AssetKey, str] = {}
    for key in sorted(graph.materializable_asset_keys - graph.root_materializable_asset_keys):
        if not is_stale(key) and not _is_incomplete(instance, key):
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


def _is_incomplete(instance: dg.DagsterInstance, key: dg.AssetKey) -> bool:
    event = instance.get_latest_materialization_event(key)
    made = event.asset_materialization if event is not None else None
    return made is not None and INCOMPLETE in made.metadata


def _why_not_now(instance: dg.DagsterInstance, graph: AssetGraph, key: dg.AssetKey) -> str | None:
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
