"""What lies below a catalogue's folder: the one walk that its reader and its watcher share."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cir_assets.datasets.tables import BrokenAnnotations, issue
from cir_assets.pictures.opening import ENDINGS

OTHER_PICTURES = {
    ".avif": "AVIF",
    ".heic": "HEIC, as phones save it,",
    ".heif": "HEIF, as phones save it,",
    ".jxl": "JPEG XL",
    ".jp2": "JPEG 2000",
    ".j2k": "JPEG 2000",
    ".jpx": "JPEG 2000",
    ".svg": "SVG, a drawing,",
    ".eps": "EPS, a drawing,",
    ".ai": "Illustrator's format",
    ".psd": "Photoshop's format",
    ".ico": "ICO, an icon,",
    ".tga": "TGA",
    ".ppm": "PPM",
    ".exr": "OpenEXR",
    **dict.fromkeys(
        (".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"), "a camera's raw format"
    ),
}
"""Endings of pictures that are not read, and what they are."""

NOT_PEOPLE_S = frozenset(
    {
        "__macosx",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "@eadir",
        "$recycle.bin",
        "system volume information",
    }
)
"""What systems put beside people's files; passed over, as hidden files are."""


@dataclass(frozen=True, slots=True)
class Found:
    """One file below a folder, or a folder that is not gone into.

    Attributes:
        path: below the folder, with ``/``; holds lone surrogates where the name on disk is no UTF-8.
        status: of the file itself, links followed; None where there is none.
        problem: why it cannot be read, as far as looking tells; None for a plain file.
        is_folder: whether ``problem`` is one of a whole folder.
    """

    path: str
    status: os.stat_result | None
    problem: str | None = None
    is_folder: bool = False


def files_below(folder: Path) -> Iterator[Found]:
    """Everything people put below a folder, in no particular order; nothing is opened.

    Links to folders are followed, and each real folder is read once: by its own place where it has one below this
    folder, else by the first link to it. Hidden files and what systems leave behind are passed over.

    Raises:
        BrokenAnnotations: the folder itself cannot be listed.
    """
    try:
        read_as: dict[tuple[int, int], str | None] = {
            _identity(place.stat()): None for place in (folder, *folder.resolve().parents)
        }
        os.scandir(folder).close()
    except OSError as error:
        raise BrokenAnnotations(
            f"{folder} cannot be listed ({error.strerror}): it must be a folder of pictures"
        ) from error
    places, links = deque([""]), deque[Found]()
    while places or links:
        if not places:
            # Every folder with a place of its own was seen: now those that only a link leads to.
            link = links.popleft()
            yield from _entered(link, read_as, places)
            continue
        place = places.popleft()
        try:
            with os.scandir(folder / place) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield Found(place, None, f"a folder that cannot be listed: {error.strerror}", is_folder=True)
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name.casefold() in NOT_PEOPLE_S:
                continue
            looked_at = _looked_at(entry, f"{place}/{entry.name}" if place else entry.name)
            if looked_at.status is None or not stat.S_ISDIR(looked_at.status.st_mode):
                yield looked_at
            elif entry.is_symlink():
                links.append(looked_at)
            else:
                yield from _entered(looked_at, read_as, places)


def status_of(file: Path) -> os.stat_result | None:
    """A file's status, links followed; None where it cannot be had."""
    try:
        return file.stat()
    except OSError:
        return None


def printable(path: str) -> str:
    r"""Write a path as text that any file can hold: bytes that are no UTF-8 as ``\xe9``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def pictures_and_issues(folder: Path, table: Path | None = None) -> tuple[list[str], list[dict[str, str]]]:
    """List the pictures below a folder, and tell what else is there.

    Args:
        folder: walked as ``files_below`` does.
        table: a file that is not told of though it lies there.

    Returns:
        Paths below the folder of plain files named as pictures, sorted; and rows of ``DATA_ISSUES``:
        ``missing_picture`` (a link to nowhere, a pipe, a file that went), ``unreadable_picture`` (a name that is no
        UTF-8), ``unread_folder``, and one row an ending for what is no picture: ``unread_format`` where it is one
        that is not read, else ``other_files``.

    Raises:
        BrokenAnnotations: the folder cannot be listed.
    """
    status = None if table is None else status_of(table)
    itself = None if status is None else _identity(status)
    pictures: list[str] = []
    issues: list[dict[str, str]] = []
    others: dict[str, list[str]] = {}
    for found in files_below(folder):
        shown, ending = printable(found.path), PurePosixPath(found.path).suffix.lower()
        if found.is_folder:
            issues.append(issue("unread_folder", shown, str(found.problem)))
        elif ending not in ENDINGS:
            if found.status is None or _identity(found.status) != itself:
                others.setdefault(printable(ending), []).append(shown)
        elif found.problem is not None:
            issues.append(issue("missing_picture", shown, f"{shown} is {found.problem}"))
        elif shown != found.path:
            issues.append(issue("unreadable_picture", shown, "its name is no UTF-8 text; rename it"))
        else:
            pictures.append(found.path)
    issues.sort(key=lambda row: (row["kind"], row["subject"]))
    return sorted(pictures), issues + [_left_out(ending, files) for ending, files in sorted(others.items())]


def _left_out(ending: str, files: list[str]) -> dict[str, str]:
    count = "1 file is left out" if len(files) == 1 else f"{len(files):,} files are left out"
    first = f"(first: {min(files)})"
    if ending in OTHER_PICTURES:
        detail = f"{count}: {OTHER_PICTURES[ending]} is not read; save as JPEG or PNG {first}"
        return issue("unread_format", ending, detail)
    return issue("other_files", ending or "no ending", f"{count}: named as no picture {first}")


def _entered(found: Found, read_as: dict[tuple[int, int], str | None], places: deque[str]) -> Iterator[Found]:
    """Put a folder among the places to look at, or tell why not."""
    assert found.status is not None
    identity = _identity(found.status)
    if printable(found.path) != found.path:
        problem = "a folder whose name is no UTF-8 text: rename it"
    elif identity not in read_as:
        read_as[identity] = found.path
        places.append(found.path)
        return
    elif (where := read_as[identity]) is None:
        problem = "a link to a folder that holds it"
    else:
        problem = f"a folder that is read as {where}"
    yield Found(found.path, None, problem, is_folder=True)


def _looked_at(entry: os.DirEntry[str], path: str) -> Found:
    try:
        status = entry.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            problem = "a link that leads to itself"
        elif isinstance(error, FileNotFoundError | NotADirectoryError):
            problem = "a link to nowhere" if entry.is_symlink() else "gone since the folder was listed"
        else:
            problem = f"not to be looked at: {error.strerror}"
        is_folder = False
        with suppress(OSError):
            is_folder = entry.is_dir(follow_symlinks=False)
        return Found(path, None, problem, is_folder)
    mode = status.st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return Found(path, status)
    kind = "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
    return Found(path, status, f"{kind}, no file")


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
