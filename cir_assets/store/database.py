"""Opening and replacing DuckDB files: only while they are used, with bounded waits and messages that help."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from cir_assets.engines.cores import granted_cores
from cir_assets.store.files import CannotLock, hold, open_workshop

WAIT_SECONDS = 30.0
"""How long a file held by another process is waited for."""

STORAGE_VERSION = "v1.2.0"
"""Files are written so that DuckDB 1.2 and later open them."""


class DatabaseLocked(RuntimeError):
    """A database file is held by another process; the message names it and says what to do."""

    def __init__(self, message: str, holder: str) -> None:
        super().__init__(message)
        self.holder = holder


class DamagedDatabase(RuntimeError):
    """A database file is no longer what was written; the message names it and says what to do."""

    def __init__(self, file: Path, why: object) -> None:
        super().__init__(
            f"{file} is damaged ({why}): bytes of it changed after they were written. Move it away, and materialize "
            "the asset that writes it again"
        )
        self.file = file


@contextmanager
def open_database(
    file: Path, *, read_only: bool = False, wait_seconds: float = WAIT_SECONDS
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with ``file`` attached as the current database, closed at the end.

    What does not fit in memory goes beside the file when it is written, to the system's temporary folder when it is
    read: the working folder may be one that nobody writes to.

    Raises:
        DatabaseLocked: when another process holds the file for longer than ``wait_seconds``.
        CannotLock: when its file system knows no locks.
        DamagedDatabase: when what it holds is not what was written.
        FileNotFoundError: when ``read_only`` and there is no such file.
    """
    if read_only:
        if not file.is_file():
            raise FileNotFoundError(f"{file} is not there yet; materialize the asset that writes it")
        spill = Path(tempfile.gettempdir()) / f"cir_assets-{secrets.token_hex(8)}"
        try:
            with _connected(file, spill, True, wait_seconds) as connection:
                yield connection
        finally:
            shutil.rmtree(spill, ignore_errors=True)
    else:
        with (
            open_workshop(file) as beside,
            _connected(file, beside / "spill", False, wait_seconds) as connection,
        ):
            yield connection


@contextmanager
def replace_database(
    file: Path, *, keep: bool, closed_to_writers: bool = False, wait_seconds: float = WAIT_SECONDS
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database built beside ``file`` and renamed over it at the end; with ``keep`` it begins as a copy.

    Who replaces a file is alone in it: another waits, so that what it builds on is what was there last. The log that
    a client left beside the file (it opened it for writing and was killed) goes with the file it belonged to: it
    would be played into the new one. When anything fails, the disk being full among it, ``file`` stays as it was.

    Args:
        file: the database.
        keep: begin with what it holds.
        closed_to_writers: the new file may only be read.
        wait_seconds: how long another process that replaces it is waited for.

    Raises:
        Held: when another process replaces it for longer than that.
    """
    try:
        with hold(file, wait_seconds), open_workshop(file) as beside:
            made = beside / "made"
            if keep and file.is_file():
                shutil.copyfile(file, made)
            with _connected(made, beside / "spill", False, wait_seconds) as connection:
                yield connection
                connection.execute("CHECKPOINT")
            made.chmod(0o444 if closed_to_writers else 0o644)
            with made.open("rb") as stream:
                os.fsync(stream.fileno())
            log_of(file).unlink(missing_ok=True)
            made.replace(file)
            # A client that still held the old file may have written once more in between.
            log_of(file).unlink(missing_ok=True)
    except (OSError, duckdb.Error) as error:
        if "space" in str(error).lower() or "too large" in str(error).lower():
            raise OSError(
                f"no space left to write {file}; it is unchanged. Free space on that disk and run this step again"
            ) from error
        raise


def log_of(file: Path) -> Path:
    """Where DuckDB keeps what was written to ``file`` and is not in it yet."""
    return file.with_name(f"{file.name}.wal")


@contextmanager
def _connected(
    file: Path, spill: Path, read_only: bool, wait_seconds: float
) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    try:
        # By itself DuckDB takes as many as the machine has, whatever this process was granted.
        connection.execute("SET threads = $1", [granted_cores()])
        connection.execute("SET temp_directory = $1", [str(spill)])
        _attach(connection, file, read_only, time.monotonic() + wait_seconds, wait_seconds)
        yield connection
    except duckdb.Error as error:
        if _tells_damage(error):
            raise DamagedDatabase(file, str(error).splitlines()[0]) from error
        raise
    finally:
        connection.close()


def _tells_damage(error: duckdb.Error) -> bool:
    said = str(error)
    return isinstance(error, duckdb.SerializationException) or any(
        sign in said for sign in ("Corrupt", "checksum", "not a valid DuckDB database")
    )


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
            if "onflicting lock" not in str(error):
                raise CannotLock(file, str(error).splitlines()[0]) from error
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
