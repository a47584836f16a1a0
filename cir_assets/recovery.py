"""After a run that was killed: its places in the pools are freed when the next run starts."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType


def free_places_of_dead_runs(instance: dg.DagsterInstance, own_run: str | None = None) -> list[str]:
    """Mark runs whose process is gone as failed and free the pool places they still hold.

    A killed process cannot give its place back, and the next run would wait for it until the daemon's run
    monitoring notices, or for ever where no daemon runs. A run is dead when every process that executed it,
    on this machine, is gone.

    Args:
        instance: where runs and pools are kept.
        own_run: the run that asks; never touched.

    Returns:
        The ids of the runs whose places were freed.
    """
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return []
    holders = {
        slot.run_id
        for pool in storage.get_concurrency_keys()
        for slot in storage.get_concurrency_info(pool).claimed_slots
    }
    freed: list[str] = []
    for run_id in sorted(holders - {own_run}):
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            processes = _processes_of(instance, run_id)
            if not processes or any(_is_alive(process) for process in processes):
                continue
            instance.report_run_failed(
                run, "the process of this run is gone; it was killed or the machine went down"
            )
        storage.free_concurrency_slots_for_run(run_id)
        freed.append(run_id)
    return freed


def _processes_of(instance: dg.DagsterInstance, run_id: str) -> set[int]:
    """Process ids a run's engine events name."""
    found: set[int] = set()
    for entry in instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        metadata = event.engine_event_data.metadata if event is not None else {}
        value = getattr(metadata.get("pid"), "value", None)
        if value is not None and str(value).isdigit():
            found.add(int(value))
    return found


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    status = Path(f"/proc/{process}/stat")
    # A zombie has ended; its parent just has not looked yet.
    return not status.is_file() or status.read_text().rpartition(")")[2].split()[0] != "Z"
