"""Looking at every picture's header and bytes once: what there is, what does not open."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from cir_assets.datasets.tables import DATA_ISSUES, IMAGES, frame, issue
from cir_assets.progress import ProgressFactory, terminal_progress

PIXEL_LIMIT = 100_000_000
SMALLEST_SIDE = 2
STAT_MEMORY = pl.Schema({**IMAGES, "modified_ns": pl.Int64})
CHUNK = 256


def scan_pictures(
    pictures: pl.DataFrame,
    root: Path,
    *,
    pixel_limit: int = PIXEL_LIMIT,
    memory: pl.DataFrame | None = None,
    progress: ProgressFactory = terminal_progress,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Hash every picture and read its header, without decoding it.

    Args:
        pictures: columns of ``PICTURES``, in the order the result keeps.
        root: the folder paths are relative to.
        pixel_limit: pictures of more pixels are refused by their header.
        memory: what an earlier scan gave; a file of the same path, size and modification time is not read
            again.
        progress: where it is told how far the scan is.

    Returns:
        The frame of ``IMAGES`` (pictures that open), one of ``DATA_ISSUES`` (those that do not, with the
        reason), and the memory for the next scan.
    """
    known = {
        (row["path"], row["bytes"], row["modified_ns"]): row
        for row in (memory.iter_rows(named=True) if memory is not None else ())
    }
    rows: list[dict[str, Any]] = []
    issues: list[dict[str, str]] = []
    named = list(pictures.iter_rows())
    chunks = [named[start : start + CHUNK] for start in range(0, len(named), CHUNK)]
    with (
        progress("scan pictures", len(named), "pictures") as shown,
        ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool,
    ):
        for chunk in pool.map(lambda part: list(_scan(part, root, pixel_limit, known)), chunks):
            for outcome in chunk:
                (rows if "image_key" in outcome else issues).append(outcome)
            shown.advance(len(chunk))
    remembered = frame(STAT_MEMORY, rows)
    return remembered.drop("modified_ns"), frame(DATA_ISSUES, issues), remembered


def _scan(
    pictures: list[tuple[str, str]],
    root: Path,
    pixel_limit: int,
    known: dict[tuple[str, int, int], dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    for image, path in pictures:
        try:
            stat = (root / path).stat()
        except OSError:
            yield issue("missing_picture", image, f"{path} is not there")
            continue
        before = known.get((path, stat.st_size, stat.st_mtime_ns))
        if before is not None and before["width"] * before["height"] <= pixel_limit:
            yield {**before, "image": image}
            continue
        content = (root / path).read_bytes()
        try:
            kind, mode, width, height = _header(content)
        except ValueError as error:
            yield issue("unreadable_picture", image, f"{path}: {error}")
            continue
        if width * height > pixel_limit:
            too_many = (
                f"{width} x {height} are {width * height:,} pixels, more than the limit of {pixel_limit:,}"
            )
            yield issue("unreadable_picture", image, f"{path}: {too_many}")
        elif min(width, height) < SMALLEST_SIDE:
            yield issue("unreadable_picture", image, f"{path}: {width} x {height} pixels show nothing")
        else:
            yield {
                "image": image,
                "path": path,
                "image_key": hashlib.sha256(content).hexdigest(),
                "format": kind,
                "mode": mode,
                "width": width,
                "height": height,
                "bytes": stat.st_size,
                "modified_ns": stat.st_mtime_ns,
            }


def _header(content: bytes) -> tuple[str, str, int, int]:
    # The limit on pixels is ours to apply, from the header; Pillow's own would only warn.
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return picture.format or "?", picture.mode, *picture.size
    except Exception as error:
        # Pillow's format plug-ins raise many kinds of error on files that are no pictures.
        raise ValueError(f"no picture that can be read ({type(error).__name__})") from error
