"""Opening DuckDB files: only while they are used, with a bounded wait and a message that names the holder."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

WAIT_SECONDS = 30.0
"""How long a file held by another process is waited for."""

STORAGE_VERSION = "v1.2.0"
"""Files are written so that DuckDB 1.2 and later open them."""


class DatabaseLocked(RuntimeError):
    """A database file is held by another process; the message names it and says what to do."""

    def __init__(self, message: str, holder: str) -> None:
        super().__init__(message)
        self.holder = holder


@contextmanager
def opened(
    file: Path, *, read_only: bool = False, wait_seconds: float = WAIT_SECONDS
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with ``file`` attached as the current database, closed at the end.

    Raises:
        DatabaseLocked: when another process holds the file for longer than ``wait_seconds``.
        FileNotFoundError: when ``read_only`` and there is no such file.
    """
    if read_only and not file.is_file():
        raise FileNotFoundError(f"{file} is not there yet; materialize the asset that writes it")
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect()
    try:
        _attach(connection, file, read_only, time.monotonic() + wait_seconds, wait_seconds)
        yield connection
    finally:
        connection.close()


def _attach(
    connection: duckdb.DuckDBPyConnection, file: Path, read_only: bool, deadline: float, wait_seconds: float
) -> None:
    how = "READ_ONLY" if read_only else f"STORAGE_VERSION '{STORAGE_VERSION}'"
    place = str(file).replace("'", "''")
    while True:
        try:
            connection.execute(f"ATTACH '{place}' AS stored ({how})")
            connection.execute("USE stored")
            return
        except duckdb.IOException as error:
            if "lock" not in str(error).lower():
                raise
            if time.monotonic() >= deadline:
                holder = _holder(str(error))
                raise DatabaseLocked(
                    f"{file} is held by {holder}, and still was after {wait_seconds:g} s; close it "
                    "there (or end that process) and run this step again. To query results while runs go on, "
                    "open storage/evaluation.duckdb instead: it is a published copy nobody writes to",
                    holder,
                ) from error
            time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))


def _holder(message: str) -> str:
    found = re.search(r"held in (?P<program>.*?) \(PID (?P<pid>\d+)\)", message)
    if found is None:
        return "another process"
    pid = int(found["pid"])
    if pid == os.getpid():
        return f"this very process (pid {pid})"
    command = Path(f"/proc/{pid}/cmdline")
    try:
        words = command.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        words = found["program"]
    return f"process {pid} ({words[:160]})"
