"""Nobody clicks: ``dagster dev`` follows what changed on disk to the published tables, and makes nothing twice."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from tests.changes import STEPS, Shop
from tests.random_pictures import picture_bytes

EDITED = "is green and much shorter"


@contextmanager
def dagster_dev(shop: Shop) -> Iterator[subprocess.Popen[bytes]]:
    """Web server and daemon, as ``make ui`` starts them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with shop.project.log.open("wb") as log:
        process = subprocess.Popen(
            [
                *(str(Path(sys.executable).with_name("dagster")), "dev", "-h", "127.0.0.1", "-p", str(port)),
                *("-m", f"{shop.project.package}.definitions"),
            ],
            cwd=shop.project.folder,
            env={**os.environ, "DAGSTER_HOME": str(shop.project.storage.root)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def look_often(shop: Shop) -> None:
    """Have the trial's daemon look for changed assets and definitions as often as it can."""
    file = shop.project.folder / shop.project.package / "definitions.py"
    text = file.read_text()
    assert "set_broken_aside=True" in text
    file.write_text(text.replace("set_broken_aside=True", "set_broken_aside=True, look_every_seconds=5"))


def waited(
    for_what: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float, shop: Shop
) -> None:
    deadline = time.monotonic() + seconds
    while not for_what():
        assert process.poll() is None, f"dagster dev ended: {shop.project.log.read_text()[-3000:]}"
        assert time.monotonic() < deadline, (
            f"not within {seconds:.0f} s: {shop.project.log.read_text()[-3000:]}"
        )
        time.sleep(1)


def at_rest(instance: dg.DagsterInstance, seconds: float = 11.0) -> bool:
    """Whether every run has ended, and no further one is asked for within the daemon's next two ticks."""
    count = instance.get_runs_count()
    time.sleep(seconds)
    records = instance.get_run_records()
    return len(records) == count and all(record.dagster_run.is_finished for record in records)


@pytest.mark.timeout(3600)
def test_what_changed_on_disk_reaches_the_published_tables_without_a_click(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.ephemeral() as nowhere:
        shop = Shop(tmp_path, nowhere)
    look_often(shop)
    with dg.DagsterInstance.from_config(str(shop.project.storage.root)) as instance:
        shop.instance = instance
        shop.tick()
        shop.settle("shop/raw", "backbones/tiny_clip")
        before = {record.dagster_run.run_id for record in instance.get_run_records()}

        def new_runs() -> list[dg.DagsterRun]:
            records = instance.get_run_records()
            return [each.dagster_run for each in records if each.dagster_run.run_id not in before]

        def published_captions() -> set[str]:
            with duckdb.connect(str(shop.project.storage.evaluation), read_only=True) as connection:
                rows = connection.sql("SELECT DISTINCT caption FROM rankings").fetchall()
            return {caption for (caption,) in rows}

        def ticks(sensor: str) -> list[str]:
            lines = shop.project.log.read_text().splitlines()
            return [line for line in lines if f"Sensor {sensor} skipped: " in line]

        def said(sensor: str, words: str) -> bool:
            return any(words in tick for tick in ticks(sensor))

        assert EDITED not in published_captions()
        with dagster_dev(shop) as process:
            waited(lambda: "Serving dagster-webserver" in shop.project.log.read_text(), process, 600, shop)
            shop.replace_in_table("is red 0,test", f"{EDITED},test")
            (shop.pictures / "new.jpg").write_bytes(picture_bytes("new"))

            # Loading the definitions anew stops no run that is under way.
            waited(
                lambda: under_way(instance, "evaluation") or EDITED in published_captions(),
                process,
                600,
                shop,
            )
            shop.promotion["keep_versions"] = 5
            shop.write()
            waited(lambda: said("edited_definitions", "are loaded anew"), process, 600, shop)
            waited(lambda: EDITED in published_captions(), process, 600, shop)

            content = shop.table.read_bytes()
            shop.table.unlink()
            shop.table.write_bytes(content)
            # Written anew as it was: it is read, and nothing follows.
            waited(lambda: made_of(new_runs())["raw"] == 2, process, 600, shop)
            waited(lambda: at_rest(instance), process, 600, shop)
        assert "those that are loaded" in ticks("edited_definitions")[-1]
        assert said("dead_runs", "every run that is under way has its process")
        new = new_runs()
        failed = [run for run in new if run.status is not dg.DagsterRunStatus.SUCCESS]
        assert [(run.status, run.asset_selection, _errors(instance, run)) for run in failed] == []
        # Each once: the trainings found that nothing changed for them, and the champion's models are what they were.
        assert made_of(new) == Counter(set(STEPS) - {"champion"}) + Counter(["raw"])
        entry = shop.project.entry("shop/tiny_clip/image_features")
        assert entry.detail["metadata"]["encoded"] == 1


def made_of(runs: Iterable[dg.DagsterRun]) -> Counter[str]:
    """How often runs were asked for each step."""
    return Counter(key.path[-1] for run in runs for key in run.asset_selection or ())


def under_way(instance: dg.DagsterInstance, step: str) -> bool:
    """Whether a run that makes a step has begun and not ended."""
    started = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    return any(key.path[-1] == step for run in started for key in run.asset_selection or ())


def _errors(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    events = [
        entry.dagster_event for entry in instance.all_logs(run.run_id) if entry.dagster_event is not None
    ]
    return [
        f"{event.step_key}: {event.message} {event.event_specific_data}"
        for event in events
        if event.is_failure
    ]
