"""Files and folders that are there whole or not at all, whoever dies while they are written, and locks on files."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

UNFINISHED = ".unfinished"
"""Ending of the folder in which something is being made; it stands beside what it is to become."""

_OWNER = "owner"
_MADE = "made"
_LONG_GONE_SECONDS = 86_400.0
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)


class CannotLock(OSError):
    """The file system that holds a file knows no locks; the message names the file and says what to do."""

    def __init__(self, file: Path, why: object) -> None:
        super().__init__(
            f"{file}: this file system cannot lock files ({why}), so two processes could write it at once and spoil "
            "it; put the storage folder on a local disk, or on a share that is mounted with locks"
        )


class Held(RuntimeError):
    """What is to be written is being written by somebody else; the message names them."""


@contextmanager
def write_whole(destination: Path) -> Iterator[Path]:
    """A path to write a file to; at the end it takes the place of ``destination``.

    What is written reaches the disk before its name does, so that after a power failure the old file is there or the
    new one, never half of it. When the body raises, ``destination`` stays as it was. No other process or thread can
    have the same path, and what those that died left beside ``destination`` is removed.
    """
    with open_workshop(destination) as workshop:
        made = workshop / _MADE
        yield made
        with made.open("rb+") as stream:
            os.fsync(stream.fileno())
        made.replace(destination)


@contextmanager
def write_one_of_many(destination: Path) -> Iterator[Path]:
    """A path to write one of thousands of small files to; at the end it takes the place of ``destination``.

    As :func:`write_whole`, but for files that can be made again: nobody waits until the disk has them. When the body
    raises, ``destination`` stays as it was and nothing is left beside it.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    made = destination.with_name(f".{destination.name}.{secrets.token_hex(4)}.part")
    try:
        yield made
        made.replace(destination)
    finally:
        made.unlink(missing_ok=True)


@contextmanager
def write_folder_whole(destination: Path) -> Iterator[Path]:
    """An empty folder to fill; at the end it takes the place of the folder ``destination``, as a whole.

    When the body raises, ``destination`` stays as it was.
    """
    with open_workshop(destination) as workshop:
        made = workshop / _MADE
        made.mkdir()
        yield made
        before = workshop / "before"
        with suppress(FileNotFoundError):
            destination.rename(before)
        try:
            made.rename(destination)
        except OSError:
            if before.exists() and not destination.exists():
                before.rename(destination)
            raise


@contextmanager
def open_workshop(destination: Path) -> Iterator[Path]:
    """A folder beside ``destination``, of this caller alone, that is gone at the end with all that is left in it.

    Its owner holds a lock on a file in it as long as it lives, in whatever container: so others see what may go.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    clear_unfinished(destination.parent, destination.name)
    token = secrets.token_hex(8)
    begun = destination.with_name(f".{token}{UNFINISHED}")
    workshop = destination.with_name(f".{destination.name}.{token}{UNFINISHED}")
    begun.mkdir()
    owner = os.open(begun / _OWNER, os.O_CREAT | os.O_RDWR)
    try:
        # Where there are no locks others let it lie for a day instead.
        with suppress(OSError):
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Under this name others look at it, and only now: it never stands there without its lock.
        begun.rename(workshop)
        yield workshop
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
        shutil.rmtree(begun, ignore_errors=True)
        os.close(owner)


def clear_unfinished(folder: Path, name: str | None = None) -> None:
    """Remove what those that died were making in a folder: all of it, or what was to be ``name``."""
    for left in folder.glob(f".{escape(name)}.*{UNFINISHED}" if name else f".*{UNFINISHED}"):
        if _is_abandoned(left):
            shutil.rmtree(left, ignore_errors=True)


def _is_abandoned(left: Path) -> bool:
    try:
        owner = os.open(left / _OWNER, os.O_RDWR)
    except OSError:
        # It is just beginning or just going, or not ours to look at.
        return _is_long_gone(left)
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return _is_long_gone(left)
    finally:
        os.close(owner)
    return True


def _is_long_gone(left: Path) -> bool:
    try:
        return time.time() - left.stat().st_mtime > _LONG_GONE_SECONDS
    except OSError:
        return False


@contextmanager
def hold(file: Path, wait_seconds: float) -> Iterator[None]:
    """Be the only one, of all processes and threads, who replaces ``file``.

    The lock is a file ``.<name>.lock`` beside it, which stays: removed, two could hold it.

    Raises:
        Held: when somebody else holds it for longer than ``wait_seconds``, naming them.
        CannotLock: when the file system knows no locks.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = file.with_name(f".{file.name}.lock")
    handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = os.pread(handle, 300, 0).decode(errors="replace").strip() or "another process"
                    raise Held(
                        f"{file} is being written by {holder}, and still was after {wait_seconds:g} s; wait until "
                        "that has ended, or end it, and run this step again"
                    ) from None
                time.sleep(0.1)
            except OSError as error:
                if error.errno in _NO_LOCKS:
                    raise CannotLock(file, error.strerror) from error
                raise
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        os.close(handle)
