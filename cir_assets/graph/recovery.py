"""After a run that was killed: it is marked as ended, so that nothing waits for it, and its pool places are freed."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus

PROCESS = ".dagster/cir_assets/process"
"""Tag of a run: the process that executes it; the UI shows no tag that begins so."""

BEAT_SECONDS = 10.0
"""Between two beats of a run's heart."""

STOPPED_AFTER_SECONDS = 90.0
"""A heartbeat this old is watched."""

WATCHED_SECONDS = 25.0
"""How long: two beats and more."""

UNDER_WAY = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]


def process_tag() -> dict[str, str]:
    """The tag of a run that this process executes, by which whoever looks later can see whether it still does."""
    return {PROCESS: f"{_machine()} {os.getpid()} {_started(os.getpid())}"}


@contextmanager
def heartbeat(folder: Path, run_id: str) -> Iterator[None]:
    """As long as this lasts the file ``<folder>/<run_id>`` is touched every few seconds, and gone afterwards.

    It is what shows others that a run lives whose process they cannot see: in another container, on another machine,
    or on this one under the name it had before.
    """
    file, ended = folder / run_id, threading.Event()
    folder.mkdir(parents=True, exist_ok=True)
    file.touch()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            # A share that is away for a moment is no reason to stop.
            with suppress(OSError):
                file.touch()

    beating = threading.Thread(target=beat, daemon=True, name=f"heartbeat of {run_id[:8]}")
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        file.unlink(missing_ok=True)


def end_dead_runs(instance: dg.DagsterInstance, heartbeats: Path, own_run: str | None = None) -> list[str]:
    """End the runs whose process is gone, and free the pool places they and other ended runs still hold.

    A killed process can neither report that it failed nor give its places back, and Dagster's run monitoring does
    not look for the processes of runs that the default launcher started: what the run was making would count as
    being made for ever. A run whose process cannot be seen from here, being in another container or on another
    machine, is dead when its heartbeat stopped. Runs that name no process yet are left.

    Args:
        instance: where runs and pools are kept.
        heartbeats: folder of the heartbeats of all runs.
        own_run: the run that asks; never touched.

    Returns:
        What was done, a sentence a run.
    """
    storage = instance.event_log_storage
    ended: list[str] = []
    for run in instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY)):
        gone = None if run.run_id == own_run else _process_gone(instance, run, heartbeats)
        # A process reports how its run ended before it ends itself: what is under way now has nobody left.
        now = instance.get_run_by_id(run.run_id) if gone else None
        if now is None or now.is_finished:
            continue
        why = f"{gone} is gone: it was killed, or the machine went down"
        if now.status is DagsterRunStatus.CANCELING:
            # As asked for; failed, it would be tried once more.
            instance.report_run_canceled(now, message=why)
            ended.append(f"run {run.run_id[:8]} is canceled: {why}")
        else:
            instance.report_run_failed(now, message=why)
            ended.append(f"run {run.run_id[:8]} failed: {why}")
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
                ended.append(f"pool places of run {run_id[:8]} are free")
    return ended


def _process_gone(instance: dg.DagsterInstance, run: dg.DagsterRun, heartbeats: Path) -> str | None:
    """The process that executed a run, in words; None while it lives, or where nothing can be said."""
    if noted := run.tags.get(PROCESS):
        machine, process, started = noted.split(" ", 2)
        if machine == _machine():
            return f"process {process}" if _started(int(process)) != started else None
        return (
            f"process {process} of {machine.split('/')[0]}" if _has_stopped(heartbeats / run.run_id) else None
        )
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


def _has_stopped(heartbeat: Path) -> bool:
    """Whether nobody touches a heartbeat any more: it is old, and does not move while it is watched.

    How old it is says the file system that both sides share, and only to spare the watching: a clock that jumped makes
    a living run's look old as well.
    """
    try:
        before = heartbeat.stat().st_mtime_ns
        now = heartbeat.with_name(f".{secrets.token_hex(8)}")
        now.touch()
        age = now.stat().st_mtime_ns - before
        now.unlink()
        if abs(age) < STOPPED_AFTER_SECONDS * 1e9:
            return False
        time.sleep(WATCHED_SECONDS)
        return heartbeat.stat().st_mtime_ns == before
    except FileNotFoundError:
        # Of an earlier version, or it just ended.
        return False


def _machine() -> str:
    """Where a process number means something: this host, and on it this container."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return f"{socket.gethostname()}/{space}"


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
