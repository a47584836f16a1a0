"""Pictures decoded ahead in other processes, so that the encoder never waits; no torch in here."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cir_assets.pictures.opening import (
    NotReadNow,
    UnreadablePicture,
    most_bytes,
    not_read_now,
    open_file,
    open_picture,
    read_file,
    refusal,
    too_many_bytes,
)
from cir_assets.pictures.preparing import prepare_picture
from cir_assets.pictures.settings import PIXEL_LIMIT, Padding, Preprocessing, Reading

CHUNK = 32
"""Pictures a worker decodes at a time: small enough to keep every worker busy within one batch."""


@dataclass(frozen=True)
class Failure:
    """A picture that gave no pixels.

    Attributes:
        row: which of the asked-for pictures.
        reason: why, without the path.
        passing: it could not be read at this moment; else ``reason`` is what its bytes say, and stays.
        image_key: SHA-256 of the bytes that were read; None where none were.
    """

    row: int
    reason: str
    passing: bool
    image_key: str | None


@dataclass(frozen=True)
class DecodedBatch:
    """Pixels ready for the encoder.

    Attributes:
        rows: int64 (b,), which of the asked-for pictures they are.
        image_keys: SHA-256, in hexadecimal, of the very bytes each was decoded from: a file may have changed
            since it was looked at.
        pixels: uint8 (b, r, r, 3).
        failures: pictures of this stretch without pixels.
    """

    rows: NDArray[np.int64]
    image_keys: list[str]
    pixels: NDArray[np.uint8]
    failures: list[Failure]


def decode(paths: Sequence[Path], how: Preprocessing, first: int = 0) -> DecodedBatch:
    """Read each file once, and decode and prepare what was read; rows count from ``first``."""
    pixels = np.empty((len(paths), how.resolution, how.resolution, 3), dtype=np.uint8)
    rows: list[int] = []
    keys: list[str] = []
    failures: list[Failure] = []
    for row, path in enumerate(paths, start=first):
        key = None
        try:
            content = read_file(path, most_bytes(how.pixel_limit))
            if content is None:
                with open_file(path) as stream:
                    key = hashlib.file_digest(stream, "sha256").hexdigest()
                raise too_many_bytes(how.pixel_limit)
            key = hashlib.sha256(content).hexdigest()
            picture = open_picture(content, how.pixel_limit, how.reading)
            try:
                pixels[len(rows)] = prepare_picture(picture, how.resolution, how.padding, how.target_ratio)
            except (OSError, ValueError, MemoryError) as error:
                raise refusal(error) from error
        except OSError as error:
            failures.append(Failure(row, str(not_read_now(error)), True, key))
        except UnreadablePicture as error:
            failures.append(Failure(row, str(error), isinstance(error, NotReadNow), key))
        else:
            rows.append(row)
            keys.append(key)
    return DecodedBatch(np.asarray(rows, dtype=np.int64), keys, pixels[: len(rows)], failures)


def decoded_batches(
    paths: Sequence[Path],
    *,
    resolution: int,
    padding: Padding = "targetpad",
    target_ratio: float = 1.25,
    batch_size: int = 256,
    workers: int = 2,
    pixel_limit: int = PIXEL_LIMIT,
    reading: Reading = "reference",
    on_encoders_cores: bool = False,
) -> Iterator[DecodedBatch]:
    """Batches of prepared pictures in the order of ``paths``, decoded ahead by ``workers`` processes.

    At most two batches and one chunk a worker are in memory, whatever the number of pictures. With
    ``workers=0`` decoding happens here. Pictures that fail are told in the batch of their stretch. With
    ``on_encoders_cores`` they decode while this process waits: an encoder on the same cores loses more where one
    of its threads is held up, as all wait for it, than decoding takes.
    """
    how = Preprocessing(resolution, padding, target_ratio, pixel_limit, reading)
    if workers == 0:
        for start in range(0, len(paths), batch_size):
            yield decode(paths[start : start + batch_size], how, start)
        return
    ahead = 2 * batch_size // CHUNK + workers
    starts = iter(range(0, len(paths), CHUNK))
    pending: deque[int] = deque()
    futures: dict[int, Future[DecodedBatch]] = {}
    gathered: list[DecodedBatch] = []
    with _light_main():
        pool = _processes(workers, on_encoders_cores)
        try:
            while True:
                pending.extend(islice(starts, ahead - len(pending)))
                if not pending:
                    break
                front = pending[0]
                try:
                    for start in pending:
                        if start not in futures:
                            futures[start] = pool.submit(decode, paths[start : start + CHUNK], how, start)
                    gathered.append(futures.pop(front).result())
                except BrokenProcessPool:
                    pool.shutdown(wait=False)
                    gathered += _one_by_one(paths[front : front + CHUNK], how, front)
                    pool = _processes(workers, on_encoders_cores)
                    futures = {
                        start: future
                        for start, future in futures.items()
                        if start != front and future.done() and future.exception() is None
                    }
                pending.popleft()
                if sum(len(part.rows) + len(part.failures) for part in gathered) >= batch_size:
                    yield _together(gathered)
                    gathered = []
            if gathered:
                yield _together(gathered)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _processes(workers: int, on_encoders_cores: bool) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_start,
        initargs=(os.getpid(), on_encoders_cores),
    )


def _one_by_one(paths: Sequence[Path], how: Preprocessing, first: int) -> Iterator[DecodedBatch]:
    """Decode pictures of which one ended the process it was in, so that only that one is not read."""
    pool: ProcessPoolExecutor | None = None
    for row, path in enumerate(paths, start=first):
        pool = pool or _processes(1, False)
        try:
            yield pool.submit(decode, [path], how, row).result()
        except BrokenProcessPool:
            pool.shutdown(wait=False)
            pool = None
            none = decode([], how)
            yield replace(none, failures=[Failure(row, "the process that decoded it was ended", True, None)])
    if pool is not None:
        pool.shutdown(wait=False)


def _together(parts: Sequence[DecodedBatch]) -> DecodedBatch:
    return DecodedBatch(
        rows=np.concatenate([part.rows for part in parts]),
        image_keys=[key for part in parts for key in part.image_keys],
        pixels=np.concatenate([part.pixels for part in parts]),
        failures=[failure for part in parts for failure in part.failures],
    )


def _start(parent: int, give_way: bool) -> None:
    """Let a worker give way to the encoder it decodes for, and end when the process that asked for it is gone."""
    if give_way and hasattr(os, "nice"):
        # A little: at the lowest priority it got next to nothing of a machine that others keep busy too.
        os.nice(3)

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
