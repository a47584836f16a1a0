"""``<dataset>_files``: watches a catalogue's folder and table, and refreshes its root when they changed."""

from __future__ import annotations

import json

import dagster as dg

from cir_assets.datasets.dataset_source import WatchedFiles
from cir_assets.graph.resources import StorageFolder
from cir_assets.graph.sensors.stale_sweep import run_under_way
from cir_assets.graph.step import asset_key
from cir_assets.pipeline.identity import DatasetPlan
from cir_assets.pipeline.source import FILES
from cir_assets.store.ledger import Ledger

ATTEMPTS = 2
"""Runs asked for because of one change; what both did not read is left for a person."""


def catalogue_sensor(data: DatasetPlan, files: WatchedFiles, every_seconds: int) -> dg.SensorDefinition:
    """Watches a catalogue's folder and table, and refreshes its root when they are no longer those it read.

    A look compares names, sizes and times alone, so that it costs the same however much is new; reading is the run's.
    While they differ from the last look, files are taken to be still on their way. What was only touched is read
    again and found to be what it was: nothing follows. A change stays wanted until the root has read it: when the run
    that was asked for fails or is killed, another is asked for, once. A catalogue whose root was never made is left
    alone: a person begins.
    """
    root = asset_key(data.name("raw"))

    @dg.sensor(
        name=f"{data.dataset}_files",
        target=dg.AssetSelection.assets(root),
        minimum_interval_seconds=every_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            f"Refreshes {root.to_user_string()} when the pictures or the table of {data.dataset} changed "
            f"and have been at rest for {every_seconds} seconds; once more when that run fails or is killed."
        ),
    )
    def changed_files(
        context: dg.SensorEvaluationContext, storage: StorageFolder
    ) -> dg.RunRequest | dg.SkipReason:
        made = Ledger(storage.storage.ledger).latest(data.name("raw"))
        if made is None:
            return dg.SkipReason(
                f"{data.name('raw')} was never made; materialize it once, then it is watched"
            )
        now = files.state()
        if now is None:
            return dg.SkipReason(f"{files.pictures} is not there at the moment; waiting for it")
        if now == made.detail["metadata"].get(FILES):
            return dg.SkipReason("no file changed since the last look")
        before = json.loads(context.cursor or "{}")
        if now != before.get("seen"):
            context.update_cursor(json.dumps({"seen": now}))
            return dg.SkipReason(f"files are changing; waiting until they rest for {every_seconds} s")
        if (run := run_under_way(context.instance, root)) is not None:
            return dg.SkipReason(f"run {run.run_id[:8]} is reading the files; looking at what it makes")
        asked = before.get("asked", 0)
        if asked == ATTEMPTS:
            return dg.SkipReason(
                f"files changed, but {ATTEMPTS} runs did not read them; see what the last said, mend it and "
                f"materialize {data.name('raw')}"
            )
        context.update_cursor(json.dumps({"seen": now, "asked": asked + 1}))
        why = f"files changed since version {made.data_version}"
        if asked:
            why += "; once more, as the run that was asked for did not read them"
        context.log.info(why)
        # Without a run key: of one it has seen, Dagster starts no run, and a change may be undone, or its run may die.
        return dg.RunRequest(asset_selection=[root], tags={"because": why})

    return changed_files
