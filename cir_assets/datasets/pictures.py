"""Looking at every picture's header and bytes once: what there is, what does not open, what falls with it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from cir_assets.datasets.tables import DATA_ISSUES, IMAGES, Annotations, frame, issue
from cir_assets.models.decoding import FORMATS
from cir_assets.progress import ProgressFactory, terminal_progress
from cir_assets.store.contracts import MISSING_PICTURES, STAT_MEMORY

PIXEL_LIMIT = 100_000_000
"""Pictures of more pixels are refused by their header: decoded they would take 300 MB each."""

SMALLEST_SIDE = 2

_CHUNK = 64
_BLOCK = 1 << 20


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
    # Our own limit decides, from the header; Pillow's would warn at another number.
    Image.MAX_IMAGE_PIXELS = None
    with (
        progress("scan pictures", len(named), "pictures") as shown,
        ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1))) as pool,
    ):
        looks = pool.map(lambda chunk: [_look(root, path, known) for _, path in chunk], chunks)
        for chunk, found in zip(chunks, looks, strict=True):
            for (image, path), look in zip(chunk, found, strict=True):
                if isinstance(look, str):
                    issues.append(issue("missing_picture", image, look))
                    continue
                remembered[path] = look
                problem = look["problem"] or _refusal(look["width"], look["height"], pixel_limit)
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
    told apart without reading it: its key is ``size-<bytes>``. Files that are not there are left out.

    Args:
        paths: relative to ``root``.
        root: the folder of the files.
        memory: a Parquet file (path, bytes, modified_ns, key) that is read and written anew, so that files of
            known path, size and modification time are not read again.
    """
    found: dict[str, os.stat_result] = {}
    for path in paths:
        with suppress(OSError):
            found[path] = (root / path).stat()
    sizes = Counter(status.st_size for status in found.values())
    keys = {path: f"size-{status.st_size}" for path, status in found.items()}
    same = [path for path, status in found.items() if sizes[status.st_size] > 1]
    known: dict[tuple[str, int, int], str] = {}
    if memory is not None and memory.is_file():
        known = {
            (path, size, modified): key for path, size, modified, key in pl.read_parquet(memory).iter_rows()
        }

    def identity(path: str) -> tuple[str, int, int]:
        return path, found[path].st_size, found[path].st_mtime_ns

    unread = [path for path in same if identity(path) not in known]
    with ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1))) as pool:
        for path, key in zip(unread, pool.map(lambda path: _digest(root / path), unread), strict=True):
            known[identity(path)] = key
    keys |= {path: known[identity(path)] for path in same}
    if memory is not None and unread:
        rows = [(*identity(path), keys[path]) for path in same]
        table = pl.DataFrame(rows, schema=["path", "bytes", "modified_ns", "key"], orient="row")
        memory.parent.mkdir(parents=True, exist_ok=True)
        beside = memory.with_name(f".{memory.name}.{os.getpid()}")
        table.write_parquet(beside)
        beside.replace(memory)
    return keys


def missing_pictures(annotations: Annotations, images: pl.DataFrame) -> pl.DataFrame:
    """Tell what exactly is missing, and what falls with it: one row a missing picture, split and category.

    Args:
        annotations: what was named.
        images: the pictures that are there, with a column ``image``.

    Returns:
        As ``MISSING_PICTURES``: image, split, category, in_gallery (it was to be ranked), as_reference and
        as_target (triplets that use it so), triplets_lost (those together, each once). Sorted by split,
        category and image. A triplet with two missing pictures is counted at both.
    """
    there = images["image"].implode()
    gone = ~pl.col("image").is_in(there)
    place = ["image", "split", "category"]
    ranked = annotations.galleries.filter(gone).select(*place, in_gallery=pl.lit(True))
    uses = pl.concat(
        annotations.triplets.select("triplet_id", "split", "category", image=role, role=pl.lit(role))
        for role in ("reference", "target")
    ).filter(pl.col("image").is_not_null() & gone)
    used = uses.group_by(place).agg(
        as_reference=(pl.col("role") == "reference").sum().cast(pl.Int64),
        as_target=(pl.col("role") == "target").sum().cast(pl.Int64),
        triplets_lost=pl.col("triplet_id").n_unique().cast(pl.Int64),
    )
    table = (
        ranked.join(used, on=place, how="full", coalesce=True)
        .with_columns(
            pl.col("in_gallery").fill_null(False),
            pl.col("as_reference", "as_target", "triplets_lost").fill_null(0),
        )
        .sort("split", "category", "image")
        .select(MISSING_PICTURES.names)
    )
    return table.cast(MISSING_PICTURES.schema)


def _known(memory: pl.DataFrame | None) -> Mapping[tuple[str, int, int], dict[str, Any]]:
    # A memory of another form was written by another version: everything is read again.
    if memory is None or memory.schema != STAT_MEMORY.schema:
        return {}
    return {(row["path"], row["bytes"], row["modified_ns"]): row for row in memory.iter_rows(named=True)}


def _look(
    root: Path, path: str, known: Mapping[tuple[str, int, int], dict[str, Any]]
) -> dict[str, Any] | str:
    """One row of ``STAT_MEMORY``, or why there is no such file."""
    file = root / path
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            return f"{path} is no file"
        before = known.get((path, status.st_size, status.st_mtime_ns))
        if before is not None:
            return before
        look: dict[str, Any] = {
            "path": path,
            "image_key": _digest(file),
            "bytes": status.st_size,
            "modified_ns": status.st_mtime_ns,
            "format": None,
            "mode": None,
            "width": None,
            "height": None,
            "problem": None,
        }
    except FileNotFoundError:
        return f"{path} is not there"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    try:
        with Image.open(file, formats=FORMATS) as picture:
            look |= {"format": picture.format, "mode": picture.mode}
            look["width"], look["height"] = picture.size
    except Exception as error:
        # Pillow's readers raise OSError, SyntaxError, ValueError, struct.error and more on broken files.
        formats = f"no picture in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        reason = formats if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        look["problem"] = "an empty file" if status.st_size == 0 else reason
    return look


def _refusal(width: int, height: int, pixel_limit: int) -> str | None:
    if width * height > pixel_limit:
        return f"{width} x {height} are {width * height:,} pixels, more than the limit of {pixel_limit:,}"
    if min(width, height) < SMALLEST_SIDE:
        return f"{width} x {height} pixels are too few to show anything"
    return None


def _digest(file: Path) -> str:
    """SHA-256 of a file's bytes; blocks keep a huge file out of memory."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
