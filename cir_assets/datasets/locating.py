"""Finding pictures where people keep them: under another ending, or in other folders than annotations say."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath

from cir_assets.datasets.tables import issue

ENDINGS = (".jpg", ".jpeg", ".png")
"""Of several files of one name in a folder the first of these endings is taken."""


def located(root: Path, expected: Mapping[str, str]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Tell where pictures lie: one look at each folder, not one a picture.

    A picture is where it is expected; else in that folder under another ending; else wherever below the root one
    file alone has its name. One that is in none of them keeps the path it should have, so that the scan tells it by
    that. Links to folders are followed, each real folder once; hidden files and folders are passed over.

    Args:
        root: the folder of pictures.
        expected: picture -> posix path below the root.

    Returns:
        Picture -> posix path below the root, and rows of ``DATA_ISSUES``: ``ambiguous_picture`` where several files
        could be meant, ``unreadable_folder`` where one may not look.
    """
    issues: list[dict[str, str]] = []

    @cache
    def names(folder: PurePosixPath) -> tuple[frozenset[str], Mapping[str, str]]:
        try:
            names_in_folder = frozenset(os.listdir(root / folder))  # noqa: PTH208 (names, not paths)
        except OSError:
            # Absent, or told when it is looked for everywhere.
            names_in_folder = frozenset()
        return names_in_folder, _by_stem(names_in_folder)

    paths: dict[str, str] = {}
    lost: list[str] = []
    for image, path in expected.items():
        wished = PurePosixPath(path)
        here, by_stem = names(wished.parent)
        name = wished.name if wished.name in here else by_stem.get(wished.stem)
        paths[image] = path if name in (None, wished.name) else (wished.parent / str(name)).as_posix()
        if name is None:
            lost.append(image)
    if lost:
        elsewhere: dict[str, list[str]] = {}
        for folder, names_in_folder in _folders(root, issues):
            for stem, name in _by_stem(names_in_folder).items():
                elsewhere.setdefault(stem, []).append((folder / name).as_posix())
        for image in lost:
            match elsewhere.get(PurePosixPath(expected[image]).stem, []):
                case [path]:
                    paths[image] = path
                case [path, other, *_]:
                    detail = f"{path} or {other}; put one of them at {expected[image]}"
                    issues.append(issue("ambiguous_picture", image, detail))
    return paths, issues


def readable(name: str) -> str:
    """A file's name as text that can be written: bytes that are no UTF-8 are spelled out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _by_stem(names: frozenset[str]) -> dict[str, str]:
    """Name without ending -> name, of files with a picture's ending."""
    found: dict[str, str] = {}
    for ending in reversed(ENDINGS):
        found |= {name[: -len(ending)]: name for name in sorted(names) if name.lower().endswith(ending)}
    return found


def _folders(root: Path, issues: list[dict[str, str]]) -> Iterator[tuple[PurePosixPath, frozenset[str]]]:
    """Every real folder below the root, in order, and the names of the files in it."""

    def left_out(folder: str, why: str) -> None:
        place = readable(Path(folder).relative_to(root).as_posix())
        issues.append(issue("unreadable_folder", place, f"not looked into: {why}"))

    def unlisted(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            left_out(error.filename, str(error.strerror))

    visited: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(root, onerror=unlisted, followlinks=True):
        try:
            status = Path(place).stat()
        except OSError as error:
            unlisted(error)
            continue
        if (status.st_dev, status.st_ino) in visited or readable(place) != place:
            if readable(place) != place:
                left_out(place, "its name is no UTF-8; rename it")
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield (
            PurePosixPath(Path(place).relative_to(root).as_posix()),
            frozenset(name for name in files if not name.startswith(".")),
        )
