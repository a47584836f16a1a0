"""Pictures decoded ahead in other processes, so that the encoder never waits; no torch in here."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cir_assets.pictures.opening import UnreadablePicture, open_picture
from cir_assets.pictures.preparing import prepare_picture
from cir_assets.pictures.settings import Padding, Preprocessing

CHUNK = 32
"""Pictures a worker decodes at a time: small enough to keep every worker busy within one batch."""

Decoded = tuple[list[int], NDArray[np.uint8], list[tuple[int, str]]]
"""Rows that decoded, their pixels uint8 (n, r, r, 3), and (row, reason) of those that did not."""


@dataclass(frozen=True)
class DecodedBatch:
    """Pixels ready for the encoder.

    ``rows`` int64 (b,) says which of the asked-for pictures they are, ``pixels`` is uint8 (b, r, r, 3), and
    ``failures`` holds (row, reason) of pictures of this stretch that do not decode.
    """

    rows: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    failures: list[tuple[int, str]]


def decode(paths: Sequence[Path], how: Preprocessing) -> Decoded:
    """Decode and prepare pictures: rows that worked, their pixels, and (row, reason) of those that did not."""
    pixels = np.empty((len(paths), how.resolution, how.resolution, 3), dtype=np.uint8)
    rows: list[int] = []
    failures: list[tuple[int, str]] = []
    for row, path in enumerate(paths):
        try:
            picture = open_picture(path, how.pixel_limit)
            pixels[len(rows)] = prepare_picture(picture, how.resolution, how.padding, how.target_ratio)
        except UnreadablePicture as error:
            failures.append((row, str(error)))
        except (OSError, ValueError, MemoryError) as error:
            failures.append((row, f"{type(error).__name__}: {error}"))
        else:
            rows.append(row)
    return rows, pixels[: len(rows)], failures


def decoded_batches(
    paths: Sequence[Path],
    *,
    resolution: int,
    padding: Padding = "targetpad",
    target_ratio: float = 1.25,
    batch_size: int = 256,
    workers: int = 2,
    pixel_limit: int = 100_000_000,
    on_encoders_cores: bool = False,
) -> Iterator[DecodedBatch]:
    """Batches of prepared pictures in the order of ``paths``, decoded ahead by ``workers`` processes.

    At most two batches and one chunk a worker are in memory, whatever the number of pictures. With
    ``workers=0`` decoding happens here. Pictures that fail are told in the batch of their stretch. With
    ``on_encoders_cores`` they decode while this process waits: an encoder on the same cores loses more where one
    of its threads is held up, as all wait for it, than decoding takes.
    """
    how = Preprocessing(resolution, padding, target_ratio, pixel_limit)
    if workers == 0:
        for start in range(0, len(paths), batch_size):
            yield _batch([(start, decode(paths[start : start + batch_size], how))])
        return
    ahead = 2 * batch_size // CHUNK + workers
    starts = iter(range(0, len(paths), CHUNK))
    pool = ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_start,
        initargs=(os.getpid(), on_encoders_cores),
    )
    with _light_main(), pool:
        pending: deque[tuple[int, Future[Decoded]]] = deque()
        gathered: list[tuple[int, Decoded]] = []
        try:
            while True:
                for fresh in islice(starts, ahead - len(pending)):
                    pending.append((fresh, pool.submit(decode, paths[fresh : fresh + CHUNK], how)))
                if not pending:
                    break
                start, future = pending.popleft()
                gathered.append((start, future.result()))
                if len(gathered) * CHUNK >= batch_size:
                    yield _batch(gathered)
                    gathered = []
            if gathered:
                yield _batch(gathered)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _batch(parts: Sequence[tuple[int, Decoded]]) -> DecodedBatch:
    return DecodedBatch(
        rows=np.concatenate([np.asarray(rows, dtype=np.int64) + start for start, (rows, _, _) in parts]),
        pixels=np.concatenate([pixels for _, (_, pixels, _) in parts]),
        failures=[(start + row, reason) for start, (_, _, failures) in parts for row, reason in failures],
    )


def _start(parent: int, give_way: bool) -> None:
    """Let a worker give way to all others, and end when the process that asked for it is gone without a word."""
    if give_way and hasattr(os, "nice"):
        os.nice(19)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _light_main() -> Iterator[None]:
    """Hide the main module's origin while workers start, so that they do not import it again.

    A spawned worker re-imports the main module, which for a Dagster process is all of Dagster.
    """
    main = sys.modules["__main__"]
    hidden: dict[str, object] = {
        name: main.__dict__.pop(name) for name in ("__file__", "__spec__") if name in main.__dict__
    }
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)
