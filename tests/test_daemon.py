"""Nobody clicks: ``dagster dev`` follows a change of a catalogue's files to the published tables."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from tests.changes import Shop

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


def at_rest(instance: dg.DagsterInstance, seconds: float = 12.0) -> bool:
    """Whether every run has ended, and no further one is asked for within the daemon's next tick."""
    count = instance.get_runs_count()
    time.sleep(seconds)
    records = instance.get_run_records()
    return len(records) == count and all(record.dagster_run.is_finished for record in records)


@pytest.mark.timeout(480)
def test_an_edited_caption_reaches_the_published_tables_without_a_click(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.ephemeral() as nowhere:
        shop = Shop(tmp_path, nowhere)
    with dg.DagsterInstance.from_config(str(shop.project.storage.root)) as instance:
        shop.instance = instance
        shop.tick()
        shop.settle("shop/raw", "backbones/tiny_clip")
        before = {record.dagster_run.run_id for record in instance.get_run_records()}

        def published_captions() -> set[str]:
            with duckdb.connect(str(shop.project.storage.evaluation), read_only=True) as connection:
                rows = connection.sql("SELECT DISTINCT caption FROM rankings").fetchall()
            return {caption for (caption,) in rows}

        assert EDITED not in published_captions()
        with dagster_dev(shop) as process:
            waited(lambda: "Serving dagster-webserver" in shop.project.log.read_text(), process, 120, shop)
            shop.replace_in_table("is red 0,test", f"{EDITED},test")
            waited(lambda: EDITED in published_captions(), process, 300, shop)

            waited(lambda: at_rest(instance), process, 120, shop)
        new = [r.dagster_run for r in instance.get_run_records() if r.dagster_run.run_id not in before]
        failed = [run for run in new if run.status is not dg.DagsterRunStatus.SUCCESS]
        assert [(run.status, run.asset_selection, _errors(instance, run)) for run in failed] == []
        made = [key.path[-1] for run in new for key in run.asset_selection or ()]
        assert {"raw", "images", "triplets", "evaluation", "leaderboard"} <= set(made)
        assert "image_features" not in made
        assert made.count("evaluation") == 1


def _errors(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    events = [
        entry.dagster_event for entry in instance.all_logs(run.run_id) if entry.dagster_event is not None
    ]
    return [
        f"{event.step_key}: {event.message} {event.event_specific_data}"
        for event in events
        if event.is_failure
    ]
