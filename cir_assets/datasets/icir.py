"""i-CIR in a local folder: queries on particular objects, each instance with a database of its own."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field

from cir_assets.datasets.annotation_files import LONGEST_ID, read_text, shown
from cir_assets.datasets.captions import caption_issues
from cir_assets.datasets.dataset_source import InOneFolder, local
from cir_assets.datasets.locating import located
from cir_assets.datasets.tables import (
    DATA_ISSUES,
    GALLERIES,
    PICTURES,
    TRIPLETS,
    Annotations,
    BrokenAnnotations,
    frame,
    issue,
)
from cir_assets.datasets.triplet_rows import gallery_rows, triplet_row

QUERIES, DATABASE = "query_files.csv", "database_files.csv"
FOLDERS = ("query", "database")
"""The folders of pictures; what a path has before one of them is the name the data set had."""


class ICIRSource(InOneFolder):
    """i-CIR: query_files.csv and database_files.csv, or both in annotations/; the pictures in query/ and database/."""

    holds = f"{QUERIES}, {DATABASE}, query/ and database/"

    kind: Literal["icir"]
    folder: str = Field(
        description=f"Folder that holds {QUERIES}, {DATABASE}, query/ and database/.", min_length=1
    )
    pictures: str | None = Field(
        default=None, description="Folder that holds query/ and database/; none: the folder."
    )

    def read(self, folder: Path) -> Annotations:
        """Read the annotations where they are."""
        return read_icir(local(self.folder), pictures=self.picture_root(folder))


def read_icir(folder: Path, *, pictures: Path | None = None) -> Annotations:
    """Read i-CIR in the common form.

    Both files have a line a picture: path, text, instance, without a header. An instance is a category, and its
    gallery its rows of ``database_files.csv``, in file order. A row of ``query_files.csv`` is a query, whose id is its
    row from 0; what is right for it are the pictures of its instance with its very text, the first of which is
    ``target`` and the others ``further_targets``. A picture's id is its path from ``query/`` or ``database/`` on. All
    of it is val: there is one set of queries, which chooses and is published.

    Rules: a query without a right picture is dropped (``no_target``), a row of the database of an instance nobody asks
    for is left out (``instance_without_query``, told once an instance); a line twice in the database counts once
    (``repeated_row``).

    Args:
        folder: holds the two files, itself or in annotations/.
        pictures: holds query/ and database/; None: ``folder``.

    Raises:
        BrokenAnnotations: naming file, line, what was expected and how to mend it.
    """
    pictures = folder if pictures is None else pictures
    home = folder / "annotations" if (folder / "annotations" / QUERIES).is_file() else folder
    queries, database = list(_rows(home / QUERIES)), list(_rows(home / DATABASE))
    issues: list[dict[str, str]] = []
    asked = dict.fromkeys(query.instance for query in queries)
    galleries: dict[str, dict[str, None]] = {instance: {} for instance in asked}
    right: dict[tuple[str, str], list[str]] = {}
    unasked: dict[str, int] = {}
    for row in database:
        if row.instance not in galleries:
            unasked[row.instance] = unasked.get(row.instance, 0) + 1
        elif row.image in galleries[row.instance]:
            issues.append(
                issue("repeated_row", row.image, f"{DATABASE}, line {row.line}: stands there again")
            )
        else:
            galleries[row.instance][row.image] = None
            right.setdefault((row.instance, row.text), []).append(row.image)
    for instance, count in unasked.items():
        detail = f"{count:,} pictures of {DATABASE} left out: no query asks for this instance"
        issues.append(issue("instance_without_query", instance, detail))
    triplets: list[dict[str, Any]] = []
    for number, query in enumerate(queries):
        targets = right.get((query.instance, query.text))
        if not targets:
            detail = (
                f"{DATABASE} has no picture of {query.instance} with the text {query.text!r}; query dropped"
            )
            issues.append(issue("no_target", f"val/{number}", detail))
            continue
        triplets.append(
            triplet_row(
                str(number),
                "val",
                query.image,
                targets[0],
                [query.text],
                category=query.instance,
                further_targets=targets[1:],
            )
        )
    if not triplets:
        raise BrokenAnnotations(
            f"{home / QUERIES}: none of its {len(queries):,} queries has a picture of its instance and text in "
            f"{DATABASE}; the two files do not belong together, fetch both again"
        )
    table = frame(TRIPLETS, triplets)
    named = [triplet["reference"] for triplet in triplets] + [
        image for each in galleries.values() for image in each
    ]
    paths, told = located(pictures, {image: image for image in dict.fromkeys(named)})
    return Annotations(
        pictures=frame(PICTURES, ({"image": image, "path": path} for image, path in paths.items())),
        galleries=frame(
            GALLERIES,
            (row for instance, images in galleries.items() for row in gallery_rows("val", images, instance)),
        ),
        triplets=table,
        issues=frame(DATA_ISSUES, [*issues, *told, *caption_issues(table)]),
        picture_root=pictures,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    image: str
    text: str
    instance: str


def _rows(file: Path) -> Iterator[_Row]:
    for line, cells in enumerate(csv.reader(read_text(file).splitlines()), start=1):
        if not cells:
            continue
        where = f"{file}, line {line}"
        if len(cells) != 3 or not all(cell.strip() for cell in cells[::2]):
            raise BrokenAnnotations(f"{where}: expected path,text,instance, found {shown(','.join(cells))}")
        path, text, instance = (cell.strip() for cell in cells)
        yield _Row(line, _image(path, where), text, instance)


def _image(path: str, where: str) -> str:
    parts = PurePosixPath(path).parts
    start = next((place for place, part in enumerate(parts) if part in FOLDERS), None)
    image = "/".join(parts[start:])
    if start is None or ".." in parts or "\0" in path or len(parts[-1].encode(errors="replace")) > LONGEST_ID:
        raise BrokenAnnotations(
            f"{where}: expected the path of a picture in query/ or database/, found {shown(path)}"
        )
    return image
