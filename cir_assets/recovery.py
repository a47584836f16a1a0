"""After a run that was killed: it is marked as ended, so that nothing waits for it, and its pool places are freed."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus

PROCESS = "cir_assets/process"
"""Tag of a run: the process that executes it, as ``process_identity`` tells it."""

UNDER_WAY = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]


def note_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Write down that this process executes a run, so that whoever looks later can see whether it still does."""
    instance.add_run_tags(run_id, {PROCESS: f"{socket.gethostname()} {os.getpid()} {_started(os.getpid())}"})


def end_dead_runs(instance: dg.DagsterInstance, own_run: str | None = None) -> list[str]:
    """End the runs whose process is gone, and free the pool places they and other ended runs still hold.

    A killed process can neither report that it failed nor give its places back, and Dagster's run monitoring does
    not look for the processes of runs that the default launcher started: what the run was making would count as
    being made for ever. Runs of other machines are left, as are runs that name no process yet.

    Args:
        instance: where runs and pools are kept.
        own_run: the run that asks; never touched.

    Returns:
        What was done, a sentence a run.
    """
    storage = instance.event_log_storage
    said: list[str] = []
    for run in instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY)):
        gone = None if run.run_id == own_run else _process_gone(instance, run)
        # A process reports how its run ended before it ends itself: what is under way now has nobody left.
        now = instance.get_run_by_id(run.run_id) if gone else None
        if now is None or now.is_finished:
            continue
        why = f"{gone} is gone: it was killed, or the machine went down"
        if now.status is DagsterRunStatus.CANCELING:
            # As asked for; failed, it would be tried once more.
            instance.report_run_canceled(now, message=why)
            said.append(f"run {run.run_id[:8]} is canceled: {why}")
        else:
            instance.report_run_failed(now, message=why)
            said.append(f"run {run.run_id[:8]} failed: {why}")
    if storage.supports_global_concurrency_limits:
        holders = {
            slot.run_id
            for pool in storage.get_concurrency_keys()
            for slot in storage.get_concurrency_info(pool).claimed_slots
        }
        for run_id in sorted(holders - {own_run}):
            holder = instance.get_run_by_id(run_id)
            if holder is None or holder.is_finished:
                storage.free_concurrency_slots_for_run(run_id)
                said.append(f"pool places of run {run_id[:8]} are free")
    return said


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
    def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        said = end_dead_runs(context.instance)
        for each in said:
            context.log.warning(each)
        return dg.SkipReason("; ".join(said) or "every run that is under way has its process")

    return dead_runs


def _process_gone(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | None:
    """The process that executed a run, in words; None while it lives, or where nothing can be said."""
    if noted := run.tags.get(PROCESS):
        host, process, started = noted.split(" ", 2)
        gone = host == socket.gethostname() and _started(int(process)) != started
        return f"process {process}" if gone else None
    # It died, or still is, between its start and its first step: its engine events name the process, not when it began.
    named: set[int] = set()
    for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        metadata = event.engine_event_data.metadata if event is not None else {}
        value = str(getattr(metadata.get("pid"), "value", None))
        if value.isdigit():
            named.add(int(value))
            age = _age(int(value))
            if age is not None and time.time() - age < entry.timestamp + 1:
                return None
    return f"process {', '.join(map(str, sorted(named)))}" if named else None


def _started(process: int) -> str | None:
    """When a living process began, as no other process of this machine did: boot and clock ticks since.

    None where it is gone. Elsewhere than on Linux only that it lives.
    """
    if (fields := _status(process)) is None:
        return None
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{boot.read_text().strip()} {fields[19]}" if fields else "lives"


def _age(process: int) -> float | None:
    """Seconds since a living process began; None where it is gone, 0 is never too old where nobody can say."""
    if (fields := _status(process)) is None:
        return None
    if not fields:
        return float("inf")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _status(process: int) -> list[str] | None:
    """The fields of ``/proc/<pid>/stat`` from the state on; empty where there is no such file, None for the dead."""
    if not Path("/proc/self/stat").is_file():
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return []
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    # A zombie has ended; its parent just has not looked yet.
    return None if fields[0] in "ZX" else fields
