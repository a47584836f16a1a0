"""What of a graph is stale, overdue or wrong now, as its instance knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from cir_assets.graph.freshness import overdue
from cir_assets.graph.sensors.stale_sweep import stale_assets
from cir_assets.pipeline.holding import held_refreshes
from cir_assets.store.layout import Storage

ENDED_EARLY = {
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.CANCELED: "was canceled",
}


@dataclass(frozen=True)
class Status:
    """The state of a graph, assets by name.

    Attributes:
        stale: made from something that changed since, and free to be made again.
        left_alone: stale too -> why it is not asked for.
        overdue: past a window of its freshness policy -> since when.
        wrong: data sets whose definition is wrong -> what is wrong.
        held: data sets whose refresh waits for a person -> what it found.
        not_made: was to be made by a run that failed or was canceled, and is as it was before -> which of the two.
    """

    stale: Sequence[str]
    left_alone: Mapping[str, str]
    overdue: Mapping[str, str]
    wrong: Mapping[str, str]
    held: Mapping[str, str]
    not_made: Mapping[str, str]


def status_of(definitions: dg.Definitions) -> Status:
    """The state of the graph that these definitions make, in the instance of ``DAGSTER_HOME``."""
    graph = definitions.resolve_asset_graph()
    with dg.DagsterInstance.get() as instance:
        free, left = stale_assets(instance, graph)
        late = overdue(instance, graph)
        not_made = not_made_by_their_last_run(instance, sorted(graph.materializable_asset_keys - left.keys()))
    broken = [key for key in graph.materializable_asset_keys if key.path[-1] == "broken_definition"]
    return Status(
        [key.to_user_string() for key in free],
        {key.to_user_string(): why for key, why in left.items()},
        {key.to_user_string(): since for key, since in late.items()},
        {key.path[0]: str(graph.get(key).description) for key in sorted(broken)},
        held_refreshes(Storage()),
        {key.to_user_string(): why for key, why in not_made.items()},
    )


def not_made_by_their_last_run(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]
) -> dict[dg.AssetKey, str]:
    """Assets that the last run over them was to make and did not, with how that run ended."""
    found = {}
    for record in instance.get_asset_records(keys):
        entry = record.asset_entry
        made_by = entry.last_materialization.run_id if entry.last_materialization is not None else None
        if entry.last_run_id is None or entry.last_run_id == made_by:
            continue
        run = instance.get_run_by_id(entry.last_run_id)
        if run is not None and run.status in ENDED_EARLY:
            found[entry.asset_key] = f"its last run, {run.run_id[:8]}, {ENDED_EARLY[run.status]}"
    return found


def causes_of(run_id: str) -> dict[str, str]:
    """Why the steps of a run failed, in the words of what they raised: step -> cause."""
    causes = {}
    with dg.DagsterInstance.get() as instance:
        for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
            event = entry.dagster_event
            assert event is not None
            failure = event.step_failure_data
            said = failure.user_failure_data.description if failure.user_failure_data is not None else None
            error = failure.error
            # Around what a step raised stands Dagster's own; what led to that in turn is for the log.
            while error is not None and error.cause is not None and str(error.cls_name).startswith("Dagster"):
                error = error.cause
            if said is None and error is not None:
                said = error.message.strip()
            causes[str(event.step_key).replace("__", "/")] = said or "it failed without a word"
    return causes
