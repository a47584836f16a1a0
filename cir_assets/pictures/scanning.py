"""Looking at every picture's header and bytes once: what there is, what does not open, what falls with it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from cir_assets.engines.cores import granted_cores
from cir_assets.engines.progress import ProgressFactory, terminal_progress
from cir_assets.pictures.opening import (
    JUDGED_BY,
    NotReadNow,
    UnreadablePicture,
    open_file,
    read_header,
    size_problem,
)
from cir_assets.pictures.settings import PIXEL_LIMIT
from cir_assets.store.contracts import DATA_ISSUES, IMAGES, STAT_MEMORY, frame, issue
from cir_assets.store.files import write_whole

_CONTENT_MEMORY = pl.Schema(
    {"path": pl.String(), "bytes": pl.Int64(), "modified_ns": pl.Int64(), "key": pl.String()}
)
_CHUNK = 64


def scan_pictures(
    pictures: pl.DataFrame,
    root: Path,
    *,
    pixel_limit: int = PIXEL_LIMIT,
    memory: pl.DataFrame | None = None,
    progress: ProgressFactory = terminal_progress,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Hash every picture and read its header, without decoding it.

    A truncated picture has a whole header: it passes here and is told where it is decoded.

    Args:
        pictures: columns of ``PICTURES``, in the order the result keeps.
        root: the folder paths are relative to.
        pixel_limit: pictures of more pixels are refused by their header.
        memory: what an earlier scan gave; a file of the same path, size and modification time is not read
            again.
        progress: where it is told how far the scan is.

    Returns:
        The frame of ``IMAGES`` (pictures that open), one of ``DATA_ISSUES`` (``missing_picture`` and
        ``unreadable_picture``, with the reason), and the ``STAT_MEMORY`` for the next scan.
    """
    known = _known(memory)
    named = list(pictures.select("image", "path").iter_rows())
    chunks = [named[start : start + _CHUNK] for start in range(0, len(named), _CHUNK)]
    rows: list[dict[str, Any]] = []
    issues: list[dict[str, str]] = []
    remembered: dict[str, dict[str, Any]] = {}
    with (
        progress("scan pictures", len(named), "pictures") as shown,
        ThreadPoolExecutor(min(16, 2 * granted_cores())) as pool,
    ):
        looks = pool.map(lambda chunk: [_look(root, path, known) for _, path in chunk], chunks)
        for chunk, found in zip(chunks, looks, strict=True):
            for (image, path), look in zip(chunk, found, strict=True):
                if isinstance(look, str):
                    issues.append(issue("missing_picture", image, look))
                    continue
                remembered[path] = look
                problem = look["problem"] or size_problem(look["width"], look["height"], pixel_limit)
                if problem:
                    issues.append(issue("unreadable_picture", image, f"{path}: {problem}"))
                else:
                    rows.append(
                        {column: look[column] for column in IMAGES.names if column != "image"}
                        | {"image": image}
                    )
            shown.advance(len(chunk))
    return frame(IMAGES, rows), frame(DATA_ISSUES, issues), frame(STAT_MEMORY, remembered.values())


def content_keys(paths: Sequence[str], root: Path, memory: Path | None = None) -> dict[str, str]:
    """Map each path to a key that exact copies, and only they, have in common.

    The key is the SHA-256 in hexadecimal. Exact copies have equal sizes, so a file whose size is its own is
    told apart without reading it: its key is ``size-<bytes>``. What is not there, no plain file or cannot be
    read is left out.

    Args:
        paths: relative to ``root``.
        root: the folder of the files.
        memory: a Parquet file (path, bytes, modified_ns, key) that is read and written anew, so that files of
            known path, size and modification time are not read again; one that cannot be read counts as none.
    """
    found: dict[str, os.stat_result] = {}
    for path in paths:
        with suppress(OSError, ValueError):
            status = (root / path).stat()
            # A pipe would be waited for without end.
            if stat.S_ISREG(status.st_mode):
                found[path] = status
    sizes = Counter(status.st_size for status in found.values())
    keys: dict[str, str | None] = {path: f"size-{status.st_size}" for path, status in found.items()}
    same = [path for path, status in found.items() if sizes[status.st_size] > 1]
    known = {} if memory is None else _remembered(memory)

    def identity(path: str) -> tuple[str, int, int]:
        return path, found[path].st_size, found[path].st_mtime_ns

    unread = [path for path in same if identity(path) not in known]
    with ThreadPoolExecutor(min(16, 2 * granted_cores())) as pool:
        for path, key in zip(unread, pool.map(lambda path: _digest(root / path), unread), strict=True):
            if key is not None:
                known[identity(path)] = key
    keys |= {path: known.get(identity(path)) for path in same}
    if memory is not None and unread:
        rows = [(*identity(path), key) for path in same if (key := keys[path]) is not None]
        with write_whole(memory) as beside:
            pl.DataFrame(rows, schema=_CONTENT_MEMORY, orient="row").write_parquet(beside)
    return {path: key for path, key in keys.items() if key is not None}


def _remembered(memory: Path) -> dict[tuple[str, int, int], str]:
    try:
        table = pl.read_parquet(memory, glob=False)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return {}
    # A memory of another form was written by another version.
    if table.schema != _CONTENT_MEMORY:
        return {}
    return {(path, size, modified): key for path, size, modified, key in table.iter_rows()}


def _known(memory: pl.DataFrame | None) -> Mapping[tuple[str, int, int], dict[str, Any]]:
    # A memory of another form was written by another version: everything is read again.
    if memory is None or memory.schema != STAT_MEMORY.schema:
        return {}
    return {(row["path"], row["bytes"], row["modified_ns"]): row for row in memory.iter_rows(named=True)}


def _look(
    root: Path, path: str, known: Mapping[tuple[str, int, int], dict[str, Any]]
) -> dict[str, Any] | str:
    """One row of ``STAT_MEMORY``, or why the file cannot be looked at now."""
    file = root / path
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            return f"{path} is no file"
        before = known.get((path, status.st_size, status.st_mtime_ns))
        if before is not None and (before["problem"] is None or before["judged_by"] == JUDGED_BY):
            return before
        with open_file(file) as stream:
            # Of one opened file: key, header and stat tell of the same bytes.
            status = os.fstat(stream.fileno())
            look: dict[str, Any] = {
                "path": path,
                "image_key": hashlib.file_digest(stream, "sha256").hexdigest(),
                "bytes": status.st_size,
                "modified_ns": status.st_mtime_ns,
                "format": None,
                "mode": None,
                "width": None,
                "height": None,
                "problem": None,
                "judged_by": JUDGED_BY,
            }
            stream.seek(0)
            try:
                look |= asdict(read_header(stream))
            except NotReadNow:
                raise
            except UnreadablePicture as error:
                look["problem"] = str(error)
            after = os.fstat(stream.fileno())
        if (after.st_size, after.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
            return f"{path} changed while it was read"
    except FileNotFoundError:
        return f"{path} is not there"
    except NotReadNow as error:
        return f"{path}: {error}"
    except (OSError, ValueError) as error:
        return f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"
    return look


def _digest(file: Path) -> str | None:
    """SHA-256 of a file's bytes; None where it cannot be read."""
    try:
        with open_file(file) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except (NotReadNow, OSError):
        return None
