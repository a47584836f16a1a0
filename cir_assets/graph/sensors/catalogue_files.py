"""``<dataset>_files``: watches a catalogue's folder and table, and refreshes its root when their content changed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import dagster as dg

from cir_assets.datasets.dataset_source import WatchedFiles
from cir_assets.graph.resources import StorageFolder
from cir_assets.graph.sensors.stale_sweep import run_under_way
from cir_assets.graph.step import asset_key
from cir_assets.pipeline.identity import DatasetPlan
from cir_assets.pipeline.step import Work
from cir_assets.store.ledger import Ledger

ATTEMPTS = 2
"""Runs asked for because of one change; what both did not read is left for a person."""


def catalogue_sensor(data: DatasetPlan, source: WatchedFiles, every_seconds: int) -> dg.SensorDefinition:
    """Watches a catalogue's folder and table, and refreshes its root when their content changed.

    Time stamps only tell that something may have moved: while sizes or times differ from the last look, files are
    taken to be still on their way. Once they rest, their content is compared with what the root last found, so that
    touching a file, or replacing it by an equal one, asks for nothing. A change stays wanted until the root has read
    it: when the run that was asked for fails or is killed, another is asked for, once. A catalogue whose root was
    never made is left alone: a person begins.
    """
    root = asset_key(data.name("raw"))

    @dg.sensor(
        name=f"{data.dataset}_files",
        target=dg.AssetSelection.assets(root),
        minimum_interval_seconds=every_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            f"Refreshes {root.to_user_string()} when the pictures or the table of {data.dataset} changed in content "
            f"and have been at rest for {every_seconds} seconds; once more when that run fails or is killed."
        ),
    )
    def files(context: dg.SensorEvaluationContext, storage: StorageFolder) -> dg.RunRequest | dg.SkipReason:
        made = Ledger(storage.storage.ledger).latest(data.name("raw"))
        if made is None:
            return dg.SkipReason(
                f"{data.name('raw')} was never made; materialize it once, then it is watched"
            )
        before = json.loads(context.cursor or "{}")
        now = state_of_files(source)
        if now is None:
            return dg.SkipReason(f"{source.pictures} is not there at the moment; waiting for it")
        rested_already = now == before.get("at_rest")
        if not rested_already and now != before.get("seen"):
            context.update_cursor(json.dumps({**before, "seen": now}))
            return dg.SkipReason(f"files are changing; waiting until they rest for {every_seconds} s")
        if rested_already and before.get("wanted") in (None, made.data_version):
            return dg.SkipReason("no file changed since the last look")
        if (run := run_under_way(context.instance, root)) is not None:
            return dg.SkipReason(f"run {run.run_id[:8]} is reading the files; looking at what it makes")
        asked = before.get("asked", 0) if rested_already else 0
        if asked == ATTEMPTS:
            return dg.SkipReason(
                f"content changed, but {ATTEMPTS} runs did not read it; see what the last said, mend it and "
                f"materialize {data.name('raw')}"
            )
        found = content_now(Work(storage.storage, say=context.log.info), data)
        changed = found != made.data_version
        context.update_cursor(
            json.dumps({"seen": now, "at_rest": now, "wanted": found, "asked": asked + changed})
        )
        if not changed:
            return dg.SkipReason("files were touched, but their content is what it was")
        why = f"content changed from version {made.data_version} to {found}"
        if asked:
            why += "; once more, as the run that was asked for did not read it"
        context.log.info(why)
        # Without a run key: of one it has seen, Dagster starts no run, and a change may be undone, or its run may die.
        return dg.RunRequest(asset_selection=[root], tags={"because": why})

    return files


def state_of_files(source: WatchedFiles) -> str | None:
    """Digest of paths, sizes and times of everything a catalogue is read from; None where the folder is not there."""
    from cir_assets.datasets.catalogue.folder import files_below, status_of
    from cir_assets.datasets.tables import BrokenAnnotations

    pictures = Path(source.pictures).expanduser().absolute()
    if not pictures.is_dir():
        return None
    try:
        lines = sorted(_line(found.path, found.status, found.problem) for found in files_below(pictures))
    except BrokenAnnotations as error:
        # The root says so: it is asked once this rests.
        lines = [str(error)]
    if source.triplets is not None:
        lines.append(_line("", status_of(Path(source.triplets).expanduser()), None))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def content_now(work: Work, data: DatasetPlan) -> str:
    """The version the root would find now; only files that changed since the last look are read.

    A table that cannot be read counts as changed: the root then tells what is wrong with it.
    """
    import polars as pl

    from cir_assets.datasets.tables import BrokenAnnotations
    from cir_assets.pipeline.scanning import content_version, scan
    from cir_assets.store.tables import read_table

    try:
        annotations, images, issues = scan(work, data)
    except (BrokenAnnotations, FileNotFoundError) as error:
        return f"unreadable-{hashlib.sha256(str(error).encode()).hexdigest()[:8]}"
    not_fetched = read_table(work.storage.tables(data.dataset), "data_issues/raw")
    return content_version(annotations, images, pl.concat([issues, not_fetched]))


def _line(path: str, status: os.stat_result | None, problem: str | None) -> str:
    """What a look compares of a file: path, size, modification time in nanoseconds, rights, what is wrong with it."""
    seen = "absent" if status is None else f"{status.st_size}\0{status.st_mtime_ns}\0{status.st_mode}"
    return f"{path}\0{seen}\0{problem}"
