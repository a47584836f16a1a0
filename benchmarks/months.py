"""A month nobody looks: what thousands of looks a day leave behind, with and without the committed retention.

``python -W ignore -m benchmarks.months [--days 30] 2>/dev/null`` writes the ticks of every sensor of a trial with one
catalogue into Dagster's own storage on SQLite, forgets them as the daemon does after each tick, and asks for what the
Automation page shows. It takes some minutes, most of them for writing: it is not among ``python -m benchmarks``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path
from unittest import mock

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.instance.config import get_default_tick_retention_settings
from dagster._core.remote_representation.external import RemoteSensor
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster_graphql.schema import create_schema
from graphene import Schema  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from cir_assets.engines.cores import granted_cores
from tests.trial_project import TrialProject

DAY = 86_400.0

SAID = "no file changed since the last look, and nothing else did; see what the last run said"
"""As long as what sensors say."""

FOUND_A_DAY = 10
"""Looks a day that asked for something, a sensor."""

LIST = """
query { workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { ... on RepositoryLocation {
  repositories { sensors { name sensorState { id status ticks(limit: 1) {
    id status timestamp endTimestamp skipReason error { message } runIds } } } } } } } } } }
"""
"""What stands beside each sensor in the list: its newest look."""

HISTORY = """
query ($selector: InstigationSelector!) {
  instigationStateOrError(instigationSelector: $selector) { ... on InstigationState { id instigationType
    ticks(limit: 25) { id status timestamp endTimestamp skipReason cursor instigationType logKey runIds runKeys
      error { message stack } requestedAssetMaterializationCount } } } }
"""
"""A page of one sensor's looks."""

TIMELINE = """
query ($selector: InstigationSelector!, $after: Float, $before: Float) {
  instigationStateOrError(instigationSelector: $selector) { ... on InstigationState { id
    ticks(afterTimestamp: $after, beforeTimestamp: $before) { id status timestamp endTimestamp } } } }
"""
"""The strip above them: every look of the last minutes."""


TABLE = (
    "kept",
    "ticks",
    "MB in use",
    "MB of file",
    "purge, s",
    "list, s",
    "history, s",
    "timeline, s",
    "process, MB",
)


def month(days: int) -> Table:
    """Write the ticks of some days, forget them as the daemon would, and ask for what is left."""
    with tempfile.TemporaryDirectory() as temporary:
        project = TrialProject(Path(temporary) / "trial")
        pictures = project.folder / "pictures"
        pictures.mkdir()
        project.write_dataset("shop", source={"kind": "catalogue", "pictures": str(pictures)})
        home = project.storage.root
        os.environ["DAGSTER_HOME"] = str(home)
        module = ModuleTarget(f"{project.package}.definitions", None, str(project.folder), None)
        with (
            dg.DagsterInstance.from_config(str(home)) as instance,
            WorkspaceProcessContext(instance, module) as process,
        ):
            [location] = process.create_request_context().code_locations
            [repository] = location.get_repositories().values()
            sensors = repository.get_sensors()
            now = time.time()
            for sensor in sensors:
                with one_transaction(instance):
                    write(instance, sensor, now, days)
            named = {
                "repositoryLocationName": location.name,
                "repositoryName": repository.name,
                "name": "upstream_changes",
            }
            asked = partial(seconds, create_schema(), process)
            # Whoever asks first waits for what is loaded once.
            asked(LIST, {})
            table = Table(*TABLE)
            for kept, retention in {
                "for ever": {},
                "as Dagster does unasked": get_default_tick_retention_settings(InstigatorType.SENSOR),
                "as storage/dagster.yaml says": instance.get_tick_retention_settings(InstigatorType.SENSOR),
            }.items():
                started = time.perf_counter()
                for sensor in sensors:
                    purge(instance, sensor, now, retention)
                purging = time.perf_counter() - started
                size, used, ticks = state(home / "schedules" / "schedules.db")
                table.add_row(
                    kept,
                    f"{ticks:,}",
                    f"{used:,.1f}",
                    f"{size:,.1f}",
                    f"{purging:.1f}",
                    f"{asked(LIST, {}):.2f}",
                    f"{asked(HISTORY, {'selector': named}):.3f}",
                    f"{asked(TIMELINE, {'selector': named, 'after': now - 3600, 'before': now}):.3f}",
                    f"{resident():,.0f}",
                )
            return table


def write(instance: dg.DagsterInstance, sensor: RemoteSensor, now: float, days: int) -> None:
    """The ticks of one sensor up to now."""
    every = sensor.min_interval_seconds
    looks = round(days * DAY / every)
    for look in range(looks):
        moment = now - (looks - look) * every
        found = look * days * FOUND_A_DAY // looks != (look + 1) * days * FOUND_A_DAY // looks
        instance.create_tick(
            TickData(
                sensor.get_remote_origin_id(),
                sensor.name,
                InstigatorType.SENSOR,
                TickStatus.SUCCESS if found else TickStatus.SKIPPED,
                moment,
                run_ids=[],
                skip_reason=None if found else SAID,
                selector_id=sensor.selector_id,
                log_key=["__repository__", sensor.name, str(look)],
                end_timestamp=moment + 0.1,
            )
        )


def purge(
    instance: dg.DagsterInstance, sensor: RemoteSensor, now: float, retention: Mapping[TickStatus, int]
) -> None:
    """What the daemon purges after each tick of a sensor."""
    for status, days in retention.items():
        if days > 0:
            instance.purge_ticks(
                sensor.get_remote_origin_id(), sensor.selector_id, now - days * DAY, [status]
            )


def state(file: Path) -> tuple[float, float, int]:
    """Megabytes of a database of ticks, those of them in use, and how many ticks it holds."""
    with closing(sqlite3.connect(file)) as connection:
        [[page]], [[pages]], [[free]], [[ticks]] = (
            connection.execute(query).fetchall()
            for query in (
                "PRAGMA page_size",
                "PRAGMA page_count",
                "PRAGMA freelist_count",
                "SELECT count(*) FROM job_ticks",
            )
        )
    return page * pages / 1e6, page * (pages - free) / 1e6, ticks


@contextmanager
def one_transaction(instance: dg.DagsterInstance) -> Iterator[None]:
    """Everything written to the schedules within is one transaction: of its own each would take hours."""
    storage = instance.schedule_storage
    assert isinstance(storage, SqliteScheduleStorage)
    with (
        storage.connect() as connection,
        mock.patch.object(storage, "connect", side_effect=lambda: nullcontext(connection)),
    ):
        yield


def seconds(
    schema: Schema, process: WorkspaceProcessContext, query: str, variables: Mapping[str, object]
) -> float:
    """How long a query takes, in the process that serves the UI."""
    request = process.create_request_context()
    started = time.perf_counter()
    answer = asyncio.run(schema.execute_async(query, context_value=request, variable_values=variables))
    taken = time.perf_counter() - started
    assert answer.errors is None, answer.errors
    assert "timestamp" in json.dumps(answer.data), answer.data
    return taken


def resident() -> float:
    """Megabytes of memory this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """A row for each way to keep ticks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.months", description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    days = parser.parse_args().days
    console = Console(width=140)
    console.print(month(days))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    console.print(f"{days} days; {datetime.now():%Y-%m-%d %H:%M}, {granted_cores()} cores, load {load}")


if __name__ == "__main__":
    main()
