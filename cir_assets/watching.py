"""Files watched by content: a catalogue's, whose root is refreshed, and the definitions', which are loaded anew."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from cir_assets.assets.pipeline import DatasetGraph
from cir_assets.automation import run_under_way
from cir_assets.datasets.sources import CatalogueSource, unpack_pictures
from cir_assets.resources import Storage
from cir_assets.store.ledger import Ledger

ATTEMPTS = 2
"""Runs asked for because of one change; what both did not read is left for a person."""


def catalogue_sensor(graph: DatasetGraph, source: CatalogueSource, every_seconds: int) -> dg.SensorDefinition:
    """Watches a catalogue's folder and table, and refreshes its root when their content changed.

    Time stamps only tell that something may have moved: while sizes or times differ from the last look, files are
    taken to be still on their way. Once they rest, their content is compared with what the root last found, so that
    touching a file, or replacing it by an equal one, asks for nothing. A change stays wanted until the root has read
    it: when the run that was asked for fails or is killed, another is asked for, once. A catalogue whose root was
    never made is left alone: a person begins.
    """
    root = graph.key("raw")

    @dg.sensor(
        name=f"{graph.dataset}_files",
        target=dg.AssetSelection.assets(root),
        minimum_interval_seconds=every_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            f"Refreshes {root.to_user_string()} when the pictures or the table of {graph.dataset} changed in content "
            f"and have been at rest for {every_seconds} seconds; once more when that run fails or is killed."
        ),
    )
    def files(context: dg.SensorEvaluationContext, storage: Storage) -> dg.RunRequest | dg.SkipReason:
        made = Ledger(storage.ledger).latest(graph.name("raw"))
        if made is None:
            return dg.SkipReason(
                f"{graph.name('raw')} was never made; materialize it once, then it is watched"
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
                f"materialize {graph.name('raw')}"
            )
        found = content_now(storage, graph)
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


def definitions_sensor(project: Path, loaded: str, every_seconds: int) -> dg.SensorDefinition:
    """Watches the YAML files below ``defs/`` and has the definitions loaded anew when their content changed.

    Args:
        project: the project's folder.
        loaded: ``state_of_definitions`` of what is loaded now.
        every_seconds: between two looks; the files must be the same in two of them.
    """

    @dg.sensor(
        name="edited_definitions",
        minimum_interval_seconds=every_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Loads the definitions anew when a YAML file below defs/ changed in content and has been at rest for "
            f"{every_seconds} seconds, as a click on Reload does. What cannot be loaded is left until it is mended."
        ),
    )
    def edited_definitions(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        # Dagster hands a sensor its code server's address; it has no public name for asking it to load anew.
        from dagster._core.remote_origin import GrpcServerCodeLocationOrigin

        from cir_assets.components.loading import explained
        from cir_assets.definitions import build_definitions

        now = state_of_definitions(project)
        if now == loaded:
            return dg.SkipReason("the definitions on disk are those that are loaded")
        if context.cursor == f"asked {now}":
            return dg.SkipReason("definitions changed on disk, and were not loaded anew when asked: restart")
        if context.cursor != now:
            context.update_cursor(now)
            return dg.SkipReason(f"definitions are changing; waiting until they rest for {every_seconds} s")
        try:
            build_definitions(project, set_broken_aside=True)
        except Exception as error:
            return dg.SkipReason(
                "definitions changed on disk but cannot be loaded; those from before go on until this is mended: "
                f"{explained(error)}"
            )
        origin = context.code_location_origin
        if not isinstance(origin, GrpcServerCodeLocationOrigin):
            return dg.SkipReason("definitions changed on disk: click Reload under Deployment, or restart")
        context.update_cursor(f"asked {now}")
        origin.create_client().reload_code(timeout=context.instance.code_server_reload_timeout)
        return dg.SkipReason("definitions changed on disk and are loaded anew")

    return edited_definitions


def state_of_definitions(project: Path) -> str:
    """Digest of the names and bytes of every YAML file below a project's ``defs/``."""
    place = dg.ComponentTree.for_project(project).defs_module_path
    state = hashlib.sha256()
    for file in sorted(place.rglob("*.yaml")):
        try:
            content = file.read_bytes()
        except OSError:
            # It went while this looked.
            continue
        state.update(f"{file.relative_to(place)}\0{len(content)}\0".encode() + content)
    return state.hexdigest()[:16]


def state_of_files(source: CatalogueSource) -> str | None:
    """Digest of paths, sizes and times of all a catalogue is read from; None where its pictures are not there."""
    pictures = Path(source.pictures).expanduser().absolute()
    if not pictures.exists():
        return None
    state = hashlib.sha256()
    for line in [_stat(pictures)] if pictures.is_file() else sorted(_stats(pictures)):
        state.update(line.encode())
    if source.triplets is not None:
        state.update(_stat(Path(source.triplets).expanduser().absolute()).encode())
    return state.hexdigest()[:16]


def content_now(storage: Storage, graph: DatasetGraph) -> str:
    """The version the root would find now; only files that changed since the last look are read.

    A table or archive that cannot be read counts as changed: the root then tells what is wrong with it.
    """
    import polars as pl

    from cir_assets.assets.scanning import content_version, scanned
    from cir_assets.assets.tables import read_table
    from cir_assets.datasets.archives import RefusedArchive
    from cir_assets.datasets.tables import BrokenAnnotations
    from cir_assets.progress import terminal_progress

    try:
        if isinstance(graph.source, CatalogueSource):
            unpack_pictures(graph.source, storage.raw(graph.dataset))
        annotations, images, issues = scanned(storage, graph, terminal_progress)
    except (BrokenAnnotations, FileNotFoundError, RefusedArchive) as error:
        return f"unreadable-{hashlib.sha256(str(error).encode()).hexdigest()[:8]}"
    not_fetched = read_table(storage.tables(graph.dataset), "data_issues/raw")
    return content_version(annotations, images, pl.concat([issues, not_fetched]))


def _stats(folder: Path) -> Iterator[str]:
    """One line a file below a folder."""
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError:
        # It went while this looked; the next look sees a folder less.
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _stats(Path(entry.path))
        else:
            yield _stat(entry)


def _stat(file: Path | os.DirEntry[str]) -> str:
    """A line: path, size and modification time in nanoseconds; without them where it is gone or a link to nowhere."""
    try:
        status = file.stat()
    except OSError:
        return f"{os.fspath(file)}\0absent\n"
    return f"{os.fspath(file)}\0{status.st_size}\0{status.st_mtime_ns}\n"
