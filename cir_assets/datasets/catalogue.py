"""One's own catalogue: a folder of pictures, and one table of triplets or none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from cir_assets.datasets.sources import CatalogueSource
from cir_assets.datasets.tables import (
    DATA_ISSUES,
    GALLERIES,
    NO_CATEGORY,
    PICTURES,
    SPLITS,
    TRIPLETS,
    Annotations,
    BrokenAnnotations,
    caption_issues,
    frame,
    issue,
)

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
NEEDED = ("reference", "target", "caption")


def read_catalogue(source: CatalogueSource) -> Annotations:
    """Read a catalogue in the common form.

    Columns of the table: ``reference, target, caption`` and optionally ``caption_2`` (a second person's),
    ``split``, ``category``, ``set`` and ``members`` (file names parted by blanks). A triplet that names a
    picture which is not there is dropped and reported.

    Galleries: every split is searched in the pictures its own triplets name, sets included. Pictures that no
    triplet names, and all pictures where there is no table, are the gallery of test: features and search
    cover them. Where the table has no ``split``, triplets that share a picture or an exact copy of one go to
    the same split, so that no picture is in two.

    Raises:
        BrokenAnnotations: when the table cannot be read or lacks a column, naming file and columns.
    """
    root = Path(source.pictures).expanduser().resolve()
    names = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in ENDINGS and path.is_file()
    )
    issues: list[dict[str, str]] = []
    rows: list[dict[str, Any]] = []
    if source.triplets is not None:
        rows, issues = _rows(Path(source.triplets).expanduser(), frozenset(names))
    if rows and rows[0]["split"] is None:
        _assign_splits(rows, root, source)
    triplets = frame(TRIPLETS, rows)
    return Annotations(
        pictures=frame(PICTURES, ({"image": name, "path": name} for name in names)),
        galleries=_galleries(names, triplets),
        triplets=triplets,
        issues=frame(DATA_ISSUES, issues + caption_issues(triplets)),
        picture_root=root,
    )


def _rows(file: Path, pictures: frozenset[str]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    table = _table(file)
    rows: list[dict[str, Any]] = []
    issues: list[dict[str, str]] = []
    for number, row in enumerate(table.iter_rows(named=True)):
        # The header is line 1 of a CSV.
        where = f"row {number + 1}"
        unknown = [row[name] for name in ("reference", "target") if row[name] not in pictures]
        if unknown:
            issues.append(
                issue("triplet_without_picture", where, f"{', '.join(map(repr, unknown))} not in the folder")
            )
            continue
        split = row.get("split")
        if "split" in table.columns and split not in SPLITS:
            raise BrokenAnnotations(
                f"{file}, {where}: split is {split!r}, expected one of {', '.join(SPLITS)}"
            )
        members = row.get("members")
        rows.append(
            {
                "triplet_id": f"{number:06d}",
                "split": split,
                "category": row.get("category") or NO_CATEGORY,
                "reference": row["reference"],
                "target": row["target"],
                "captions": [row["caption"] or ""] + ([row["caption_2"]] if row.get("caption_2") else []),
                "further_targets": [],
                "set_id": row.get("set"),
                "set_members": [name for name in members.split() if name in pictures] if members else None,
            }
        )
    return rows, issues


def _table(file: Path) -> pl.DataFrame:
    readers = {
        ".csv": pl.read_csv,
        ".jsonl": pl.read_ndjson,
        ".ndjson": pl.read_ndjson,
        ".parquet": pl.read_parquet,
    }
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise BrokenAnnotations(f"{file}: expected a table named .csv, .jsonl or .parquet")
    try:
        # Ids are text even where they look like numbers.
        table = pl.read_csv(file, infer_schema=False) if reader is pl.read_csv else reader(file)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise BrokenAnnotations(f"{file} cannot be read as {file.suffix[1:].upper()}: {error}") from error
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise BrokenAnnotations(
            f"{file} has no column {', '.join(missing)}; it has {', '.join(table.columns)} and needs "
            f"{', '.join(NEEDED)} (optionally caption_2, split, category, set, members)"
        )
    return table.with_columns(pl.col(name).cast(pl.String) for name in table.columns if name != "members")


def _assign_splits(rows: list[dict[str, Any]], root: Path, source: CatalogueSource) -> None:
    """Give each group of triplets connected by a picture's content the same split, by a hash of the group."""
    content = {name: _content(root / name) for row in rows for name in _pictures_of(row)}
    parent = {key: key for key in content.values()}

    def root_of(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for row in rows:
        first, *others = (root_of(content[name]) for name in _pictures_of(row))
        for other in others:
            low, high = sorted((root_of(first), root_of(other)))
            parent[high] = low
    for row in rows:
        group = root_of(content[row["reference"]])
        draw = int.from_bytes(hashlib.sha256(f"{source.seed}/{group}".encode()).digest()[:8], "big") / 2**64
        evaluated = source.val_share + source.test_share
        row["split"] = "val" if draw < source.val_share else "test" if draw < evaluated else "train"


def _pictures_of(row: dict[str, Any]) -> list[str]:
    return [row["reference"], row["target"], *(row["set_members"] or [])]


def _content(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _galleries(names: Iterable[str], triplets: pl.DataFrame) -> pl.DataFrame:
    members: dict[tuple[str, str], set[str]] = {}
    used: set[str] = set()
    for row in triplets.iter_rows(named=True):
        pictures = _pictures_of(row)
        members.setdefault((row["split"], row["category"]), set()).update(pictures)
        used.update(pictures)
    unused = [name for name in names if name not in used]
    categories = sorted({category for split, category in members if split == "test"}) or [NO_CATEGORY]
    for category in categories:
        members.setdefault(("test", category), set()).update(unused)
    return frame(
        GALLERIES,
        (
            {"split": split, "category": category, "position": position, "image": image}
            for (split, category), images in sorted(members.items())
            for position, image in enumerate(sorted(images))
        ),
    )
