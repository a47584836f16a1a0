"""A run that died is ended by who looks next, so that what it was making is not "being made" for ever."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterRunStatus
from dagster._core.events import EngineEventData
from dagster._core.test_utils import create_run_for_test

from cir_assets.graph.recovery import PROCESS, _machine, _started, end_dead_runs, heartbeat

NOWHERE = Path("no folder of heartbeats")
HERE = _machine()


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def recorded(
    instance: dg.DagsterInstance,
    status: DagsterRunStatus = DagsterRunStatus.STARTED,
    noted: str | None = None,
    named: int | None = None,
    ago: float = 0.0,
) -> str:
    """A run as a process left it in the instance: noted in its tag, or named by its first event, some seconds ago."""
    made: dg.DagsterRun = create_run_for_test(
        instance, "evaluation", status=status, tags={PROCESS: noted} if noted is not None else None
    )
    if named is not None:
        event = DagsterEvent(
            DagsterEventType.ENGINE_EVENT.value,
            "evaluation",
            event_specific_data=EngineEventData.in_process(named),
        )
        instance.report_dagster_event(event, made.run_id, timestamp=time.time() - ago)
    return made.run_id


def status_of(instance: dg.DagsterInstance, run_id: str) -> DagsterRunStatus:
    found = instance.get_run_by_id(run_id)
    assert found is not None
    return found.status


@pytest.mark.parametrize("status", [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED])
def test_a_run_that_died_before_its_first_step_has_failed(
    instance: dg.DagsterInstance, gone: int, status: DagsterRunStatus
) -> None:
    dead = recorded(instance, status, named=gone)
    assert len(end_dead_runs(instance, NOWHERE)) == 1
    assert status_of(instance, dead) is DagsterRunStatus.FAILURE


def test_a_run_that_was_to_be_canceled_is_canceled_and_so_not_tried_again(
    instance: dg.DagsterInstance, gone: int
) -> None:
    dead = recorded(instance, DagsterRunStatus.CANCELING, noted=f"{HERE} {gone} before 1")
    end_dead_runs(instance, NOWHERE)
    assert status_of(instance, dead) is DagsterRunStatus.CANCELED


def test_another_process_of_the_same_number_is_not_taken_for_it(instance: dg.DagsterInstance) -> None:
    own = os.getpid()
    boot, ticks = str(_started(own)).split()
    after_a_reboot = recorded(instance, noted=f"{HERE} {own} another-boot {ticks}")
    number_reused = recorded(instance, noted=f"{HERE} {own} {boot} {int(ticks) - 1}")
    named_before_it_began = recorded(instance, named=own, ago=3600.0 * 24 * 365)
    assert len(end_dead_runs(instance, NOWHERE)) == 3
    for dead in (after_a_reboot, number_reused, named_before_it_began):
        assert status_of(instance, dead) is DagsterRunStatus.FAILURE


def test_what_lives_is_elsewhere_or_names_nobody_is_left(instance: dg.DagsterInstance, gone: int) -> None:
    left = [
        recorded(instance, noted=f"{HERE} {os.getpid()} {_started(os.getpid())}"),
        recorded(instance, named=os.getpid()),
        recorded(instance, noted=f"another-{HERE} {gone} boot 1"),
        recorded(instance),
    ]
    own = recorded(instance, noted=f"{HERE} {gone} boot 1")
    assert end_dead_runs(instance, NOWHERE, own) == []
    assert {status_of(instance, each) for each in (*left, own)} == {DagsterRunStatus.STARTED}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hearts beat, and are watched, for fractions of a second."""
    for name, seconds in (("BEAT_SECONDS", 0.05), ("STOPPED_AFTER_SECONDS", 0.3), ("WATCHED_SECONDS", 0.4)):
        monkeypatch.setattr(f"cir_assets.graph.recovery.{name}", seconds)


@pytest.mark.usefixtures("short")
def test_a_run_of_another_host_or_container_lives_as_long_as_its_heart_beats(
    instance: dg.DagsterInstance, tmp_path: Path, gone: int
) -> None:
    elsewhere = recorded(instance, noted=f"the-name-before-the-restart/pid:[1] {gone} boot 1")
    with heartbeat(tmp_path, elsewhere):
        time.sleep(0.4)
        assert end_dead_runs(instance, tmp_path) == []
    (tmp_path / elsewhere).touch()
    time.sleep(0.4)
    [said] = end_dead_runs(instance, tmp_path)
    assert f"process {gone} of the-name-before-the-restart is gone" in said
    assert status_of(instance, elsewhere) is DagsterRunStatus.FAILURE


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_jumps_ends_no_run_that_lives(
    instance: dg.DagsterInstance, tmp_path: Path, gone: int, hours: int
) -> None:
    elsewhere = recorded(instance, noted=f"another-host/pid:[1] {gone} boot 1")
    with heartbeat(tmp_path, elsewhere):
        # As it looks right after the jump.
        jumped = time.time() + hours * 3600
        os.utime(tmp_path / elsewhere, (jumped, jumped))
        assert end_dead_runs(instance, tmp_path) == []
    assert status_of(instance, elsewhere) is DagsterRunStatus.STARTED


def test_pool_places_of_the_dead_are_free(tmp_path: Path, gone: int) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("gpu", 1)
        dead = recorded(instance, noted=f"{HERE} {gone} boot 1")
        assert storage.claim_concurrency_slot("gpu", dead, "image_features").is_claimed
        end_dead_runs(instance, NOWHERE)
        assert storage.claim_concurrency_slot("gpu", "next", "image_features").is_claimed
