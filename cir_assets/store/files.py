"""Files that are there whole or not at all, whoever dies while they are written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path


@contextmanager
def written_whole(destination: Path) -> Iterator[Path]:
    """A path beside ``destination`` to write to; at the end it takes its place.

    What is written reaches the disk before its name does, so that after a power failure the old file is there or the
    new one, never half of it. When the body raises, ``destination`` stays as it was. What processes that died left
    beside it is removed.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    clear_left_beside(destination.parent, destination.name)
    beside = beside_of(destination)
    try:
        yield beside
        with beside.open("rb+") as stream:
            os.fsync(stream.fileno())
        beside.replace(destination)
    finally:
        beside.unlink(missing_ok=True)


def beside_of(destination: Path) -> Path:
    """Where this process writes what is to become ``destination``; its name says whose it is."""
    return destination.with_name(f".{destination.name}.{os.getpid()}")


def clear_left_beside(folder: Path, name: str | None = None) -> None:
    """Remove what processes of this machine that died were writing in a folder: all, or what was to be ``name``."""
    for left in folder.glob(f".{escape(name) if name else '*'}.*"):
        process = left.name.rpartition(".")[2]
        if not process.isdigit() or _is_alive(int(process)):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
