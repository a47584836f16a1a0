"""One's own catalogue: a folder of pictures, and one table of triplets or none."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from cir_assets.datasets.captions import caption_issues
from cir_assets.datasets.tables import (
    DATA_ISSUES,
    GALLERIES,
    NO_CATEGORY,
    PICTURES,
    SPLITS,
    TRIPLETS,
    Annotations,
    BrokenAnnotations,
    frame,
    issue,
    overlap_issues,
)
from cir_assets.pictures.scanning import content_keys

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
NEEDED = ("reference", "target", "caption")
OPTIONAL = ("caption_2", "split", "category", "set", "members")
OTHER_NAMES = {"valid": "val", "validation": "val", "dev": "val", "training": "train"}
"""What else people call a split."""


def read_catalogue(
    pictures: Path,
    table: Path | None,
    *,
    val_share: float = 0.15,
    test_share: float = 0.15,
    seed: int = 0,
    memory: Path | None = None,
) -> Annotations:
    """Read a catalogue in the common form.

    A picture's id is its path below the folder (``shoes/red.png``); files of other endings and hidden ones
    are passed over. The table may also name it without its ending where that names one picture.

    Columns: ``reference``, ``target``, ``caption``; optionally ``caption_2`` (a second person's words),
    ``split`` (train, val, test), ``category`` (a gallery of its own), ``set`` and ``members`` (look-alikes,
    for subset recall: a list, or text parted by ``|`` or blanks; without ``members`` a set is what its rows
    name). A row that names only a ``reference`` puts that picture into a gallery and makes no triplet; a row
    with a caption and no target is a query whose answer is secret. Triplets are called
    ``row-<n>``, n counting rows from 1.

    Dropped and reported: a triplet that names a picture which is not there (``unknown_picture``), that has no
    words (``empty_caption``), or whose target is its reference (``reference_is_target``).

    Splits: where the table has none, triplets that share a picture, or exact copies of one, form a group, and
    each group goes whole to one split: in an order drawn from ``seed``, val and test are filled up to their
    share of the triplets, train takes the rest. So no picture, and no copy of it, is in two splits. With a
    ``split`` column overlaps are reported (``cross_split_leakage``).

    Galleries: a split and category is searched in all pictures its rows name, sets included, by ascending
    id. A picture no row names goes where an exact copy of it is; else it is a distractor, shared out between
    val and test by its content, in every category there. Without triplets all pictures are the gallery of
    test: features and search cover them.

    Args:
        pictures: the folder of pictures.
        table: a .csv, .tsv, .jsonl or .parquet file, UTF-8; None: no triplets.
        val_share: of the triplets, where the table has no split.
        test_share: of the triplets, where the table has no split.
        seed: decides the splits.
        memory: a Parquet file that keeps what was found of the files' contents, so that only new and changed
            ones are read next time; None: nothing is kept.

    Raises:
        BrokenAnnotations: the table cannot be read, lacks a column, names no picture that is there, or cannot
            be split; naming file and line.
    """
    names = sorted(_picture_files(pictures))
    issues: list[dict[str, str]] = []
    placed: list[_Row] = []
    if table is not None:
        placed = list(_rows(table, names, issues))
        _complete_sets(placed)
        if not placed:
            raise BrokenAnnotations(
                f"{table}: no row names pictures that are in {pictures}"
                + (f" (first: {issues[0]['detail']})" if issues else "")
                + "; give paths below that folder"
            )
    keys = content_keys(names, pictures, memory)
    if placed and placed[0].split is None:
        _assign_splits(placed, keys, {"val": val_share, "test": test_share}, seed, table)
    triplets = frame(TRIPLETS, (row.as_triplet() for row in placed if row.captions))
    galleries = frame(GALLERIES, _galleries(names, placed, keys))
    return Annotations(
        pictures=frame(PICTURES, ({"image": name, "path": name} for name in names)),
        galleries=galleries,
        triplets=triplets,
        issues=frame(DATA_ISSUES, [*issues, *caption_issues(triplets), *overlap_issues(galleries)]),
        picture_root=pictures,
    )


@dataclass
class _Row:
    """One row of the table; without captions it only places its picture."""

    name: str
    split: str | None
    category: str
    reference: str
    target: str | None
    captions: list[str]
    set_id: str | None
    members: list[str] | None

    @property
    def pictures(self) -> list[str]:
        named = [self.reference, *([self.target] if self.target else []), *(self.members or [])]
        return list(dict.fromkeys(named))

    def as_triplet(self) -> dict[str, Any]:
        return {
            "triplet_id": self.name,
            "split": self.split,
            "category": self.category,
            "reference": self.reference,
            "target": self.target,
            "captions": self.captions,
            "further_targets": [],
            "set_id": self.set_id,
            "set_members": self.members,
        }


def _picture_files(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if PurePosixPath(name).suffix.lower() in ENDINGS and not name.startswith("."):
                yield (Path(place) / name).relative_to(folder).as_posix()


def _rows(table: Path, names: Sequence[str], issues: list[dict[str, str]]) -> Iterator[_Row]:
    known = _Names(names)
    # An empty `split` in some rows only would leave them to chance while others are fixed.
    with_split: bool | None = None
    for number, (where, row) in enumerate(_table(table), start=1):
        name = f"row-{number}"
        said = [text for text in (_text(row, "caption", where), _text(row, "caption_2", where)) if text]
        split = _split(_text(row, "split", where), where)
        if with_split is not None and with_split != (split is not None):
            raise BrokenAnnotations(f"{where}: either every row has a split or none; this one differs")
        with_split = split is not None
        values = {role: _text(row, role, where) for role in ("reference", "target")}
        found = {role: known.find(value, where) for role, value in values.items() if value}
        unknown = [str(values[role]) for role, image in found.items() if image is None]
        if not values["reference"]:
            raise BrokenAnnotations(f"{where}: no picture under 'reference'")
        if unknown:
            issues.append(issue("unknown_picture", name, f"no picture {', '.join(unknown)}; row dropped"))
            continue
        reference, target = str(found["reference"]), found.get("target")
        if target is not None and not said:
            issues.append(issue("empty_caption", name, "a target but no caption; row dropped"))
            continue
        if target == reference:
            issues.append(issue("reference_is_target", name, f"both are {reference}; row dropped"))
            continue
        members: list[str] | None = None
        listed = _listed(row.get("members"), where)
        if listed:
            members = []
            for value in listed:
                image = known.find(value, where)
                if image is None:
                    issues.append(issue("unknown_picture", name, f"no picture {value}; left out of its set"))
                elif image not in members:
                    members.append(image)
            if reference not in members:
                members.insert(0, reference)
        set_id = _text(row, "set", where) or (name if members else None)
        category = _text(row, "category", where) or NO_CATEGORY
        yield _Row(name, split, category, reference, target, said, set_id, members)


class _Names:
    """Finds a picture by its path below the folder, or by that path without the ending if it is its own."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(names)
        stems = [name.rpartition(".")[0] for name in names]
        several = {stem for stem, count in Counter(stems).items() if count > 1}
        self.by_stem = {stem: name for stem, name in zip(stems, names, strict=True) if stem not in several}

    def find(self, value: str, where: str) -> str | None:
        """Return the picture's id, or None.

        Raises:
            BrokenAnnotations: for a path that leads out of the folder.
        """
        path = PurePosixPath(value.replace("\\", "/"))
        if path.is_absolute() or not path.parts or ".." in path.parts or re.match("[A-Za-z]:", value):
            raise BrokenAnnotations(f"{where}: {value!r} must be a path below the folder of pictures")
        name = path.as_posix()
        return name if name in self.names else self.by_stem.get(name)


def _table(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where a row stands, for messages, and its cells by column."""
    readers = {".csv": _csv, ".tsv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl, ".parquet": _parquet}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise BrokenAnnotations(f"{file}: expected a table named .csv, .tsv, .jsonl or .parquet")
    try:
        yield from reader(file)
    except UnicodeDecodeError as error:
        raise BrokenAnnotations(f"{file}, byte {error.start}: no UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise BrokenAnnotations(f"{file} cannot be read: {error.strerror}") from error


def _csv(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    # Python's reader, as it knows the line a broken row stands in.
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, delimiter="\t" if file.suffix.lower() == ".tsv" else ",", strict=True)
        try:
            columns = [column.strip() for column in next(reader, [])]
            _check_columns(columns, str(file))
            for cells in reader:
                where = f"{file}, line {reader.line_num}"
                if not cells:
                    continue
                if len(cells) != len(columns):
                    raise BrokenAnnotations(
                        f"{where}: expected {len(columns)} cells ({', '.join(columns)}), found {len(cells)}; "
                        "put a cell that holds commas into double quotes"
                    )
                yield where, dict(zip(columns, cells, strict=True))
        except csv.Error as error:
            raise BrokenAnnotations(f"{file}, line {reader.line_num}: {error}") from error


def _jsonl(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with file.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, start=1):
            where = f"{file}, line {number}"
            if not line.strip():
                continue
            try:
                row = json.loads(line.rstrip())
            except json.JSONDecodeError as error:
                raise BrokenAnnotations(
                    f"{where}, column {error.colno}: no valid JSON, {error.msg}; expected one object a line"
                ) from error
            if not isinstance(row, dict):
                raise BrokenAnnotations(f"{where}: expected an object, found {line.strip():.60}")
            _check_columns(list(row), where, needed=("reference",))
            yield where, row


def _parquet(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        table = pl.read_parquet(file)
    except pl.exceptions.PolarsError as error:
        raise BrokenAnnotations(f"{file} cannot be read as Parquet: {error}") from error
    _check_columns(table.columns, str(file))
    for number, row in enumerate(table.iter_rows(named=True), start=1):
        yield f"{file}, row {number}", row


def _check_columns(columns: Sequence[str], where: str, needed: Sequence[str] = NEEDED) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        raise BrokenAnnotations(
            f"{where}: no column {', '.join(missing)}; found {', '.join(columns) or 'nothing'}, needed are "
            f"{', '.join(NEEDED)} (optional: {', '.join(OPTIONAL)}), parted by commas in a CSV"
        )
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise BrokenAnnotations(f"{where}: column {twice[0]} stands there twice")


def _text(row: Mapping[str, Any], column: str, where: str) -> str | None:
    """Return a cell's text without blanks at its ends, or None where it is empty or absent."""
    value = row.get(column)
    if value is None:
        return None
    if not isinstance(value, str):
        # A number may have lost its leading zeros on the way: it is no reliable id.
        if column in ("reference", "target", "caption", "caption_2"):
            raise BrokenAnnotations(f"{where}: expected a text under {column!r}, found {value!r}; quote it")
        value = str(value)
    return value.strip() or None


def _split(value: str | None, where: str) -> str | None:
    if value is None:
        return None
    split = OTHER_NAMES.get(value.casefold(), value.casefold())
    if split not in SPLITS:
        raise BrokenAnnotations(f"{where}: split is {value!r}, expected one of {', '.join(SPLITS)}")
    return split


def _listed(value: Any, where: str) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [
            part.strip() for part in (value.split("|") if "|" in value else value.split()) if part.strip()
        ]
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return value
    raise BrokenAnnotations(f"{where}: expected a list of pictures under 'members', found {value!r}")


def _complete_sets(rows: Sequence[_Row]) -> None:
    """Give sets whose rows list no members what those rows name, in the order of the table."""
    named: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.set_id is not None and row.members is None:
            named.setdefault(row.set_id, {}).update(dict.fromkeys(row.pictures))
    for row in rows:
        if row.set_id is not None and row.members is None:
            row.members = list(named[row.set_id])


def _assign_splits(
    rows: Sequence[_Row], keys: Mapping[str, str], shares: Mapping[str, float], seed: int, table: Path | None
) -> None:
    """Give every row a split, all rows connected by a picture's content the same."""
    groups = _connected([keys[name] for name in row.pictures] for row in rows)
    members: dict[str, list[_Row]] = {}
    for row in rows:
        members.setdefault(groups[keys[row.reference]], []).append(row)
    # The draw hangs on the group's first picture, so that a grown catalogue keeps most of its splits.
    ordered = sorted(
        members.values(),
        key=lambda group: hashlib.sha256(f"{seed}/{min(row.reference for row in group)}".encode()).digest(),
    )
    weight = [sum(1 for row in group if row.captions) for group in ordered]
    places = ["train"] * len(ordered)
    held = dict.fromkeys(shares, 0)
    for index, size in enumerate(weight):
        for split, share in shares.items():
            if size and held[split] + size <= share * sum(weight):
                places[index] = split
                held[split] += size
                break
    for split, share in shares.items():
        if share and not held[split]:
            rest = [index for index, place in enumerate(places) if place == "train" and weight[index]]
            if len(rest) < 2:
                raise BrokenAnnotations(
                    f"{table}: its {sum(weight)} triplets hang together in {sum(map(bool, weight))} group(s) "
                    "through shared pictures, so they cannot be split without a picture in two splits; "
                    "add a column split, or set val_share and test_share to 0"
                )
            smallest = min(rest, key=lambda index: weight[index])
            places[smallest] = split
            held[split] = weight[smallest]
    for group, place in zip(ordered, places, strict=True):
        for row in group:
            row.split = place


def _connected(together: Iterable[Sequence[str]]) -> dict[str, str]:
    """Each member's group, named by one of its members; members that are listed together are of one group."""
    parent: dict[str, str] = {}

    def head(member: str) -> str:
        parent.setdefault(member, member)
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    for members in together:
        for member in members:
            parent[head(member)] = head(members[0])
    return {member: head(member) for member in list(parent)}


def _galleries(
    names: Sequence[str], rows: Sequence[_Row], keys: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    galleries: dict[tuple[str, str], set[str]] = {}
    places: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        place = (str(row.split), row.category)
        galleries.setdefault(place, set()).update(row.pictures)
        for name in row.pictures:
            places.setdefault(keys[name], set()).add(place)
    named = {name for images in galleries.values() for name in images}
    searched = [split for split in ("val", "test") if any(split == place for place, _ in galleries)] or [
        "test"
    ]
    for name in names:
        if name in named:
            continue
        key = keys[name]
        copies = places.get(key)
        if copies is None:
            # The key of a file with no equal in size says nothing of its content: its name decides then too.
            draw = hashlib.sha256((key if not key.startswith("size-") else name).encode()).digest()[0]
            split = searched[draw * len(searched) // 256]
            copies = {place for place in galleries if place[0] == split} or {(split, NO_CATEGORY)}
        for place in copies:
            galleries.setdefault(place, set()).add(name)
    for (split, category), images in sorted(
        galleries.items(), key=lambda g: (SPLITS.index(g[0][0]), g[0][1])
    ):
        for position, image in enumerate(sorted(images)):
            yield {"split": split, "category": category, "position": position, "image": image}
