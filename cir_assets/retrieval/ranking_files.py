"""Rankings that another system made: what a YAML says of such a file, and reading it.

A file holds, of each query, the ids of the pictures found, best first, in one of these forms:

* CSV, TSV or Parquet, one row a query and picture: columns ``query_id``, ``image`` and, where the rows are not in
  order, ``rank``; or one row a query, its further columns called 1, 2, 3, … (CSV) or the list ``images`` (Parquet);
* JSONL, one object a query: ``{"query_id": "…", "images": ["…", …]}``;
* JSON, a list of such objects, or one object of query id -> list, as CIRR's and CIRCO's test servers take it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cir_assets.datasets.dataset_source import local
from cir_assets.retrieval.protocols import ProtocolName

QUERY_HEADS = ("query_id", "query", "triplet_id", "pairid", "pair_id")
IMAGE_HEADS = ("image", "image_id", "picture", "candidate", "retrieved")
IMAGES_HEADS = ("images", "pictures", "candidates", "ranking")
SERVER_KEYS = ("version", "metric")
"""What CIRR's test server wants beside the lists."""

FORMS = ".csv, .tsv, .jsonl, .json or .parquet"


class BrokenRanking(ValueError):
    """A ranking that cannot be taken; the message names file, place and query, and the mend."""


class RankingFile(BaseModel):
    """A ranking made elsewhere, of one split under one protocol."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(
        min_length=1, description=f"The file, {FORMS}: ids of pictures for each query, best first."
    )
    label: str | None = Field(
        default=None,
        min_length=1,
        max_length=60,
        description="What people read in charts and tables; by default its name here.",
    )
    split: Literal["val", "test"] = Field(default="val", description="The split whose queries it answers.")
    protocol: ProtocolName | None = Field(
        default=None, description="The protocol it was made under; by default the data set's first."
    )
    subset_file: str | None = Field(
        default=None,
        description=(
            "For protocols that rank within image sets: a file of the same form whose lists hold each query's set. "
            "Not needed where the lists of the first file hold them."
        ),
    )

    @property
    def paths(self) -> list[Path]:
        """Its files."""
        return [local(name) for name in (self.file, self.subset_file) if name is not None]


@dataclass(frozen=True)
class RankedLists:
    """What a file of rankings says.

    Attributes:
        file: where it stands.
        lists: query id -> ids of pictures, best first.
        places: query id -> where its list begins, as "line 7".
    """

    file: Path
    lists: Mapping[str, Sequence[str]]
    places: Mapping[str, str]

    def broken(self, query: str, what: str) -> BrokenRanking:
        """What is wrong with one query's list."""
        return BrokenRanking(f"{self.file}, {self.places[query]}, query {query}: {what}")


def read_ranking(file: Path) -> RankedLists:
    """Read a ranking, whatever its form.

    Raises:
        BrokenRanking: when it is not there, of no known form, or names a query twice.
    """
    readers = {
        ".csv": _table_rows,
        ".tsv": _table_rows,
        ".jsonl": _json_lines,
        ".json": _json,
        ".parquet": _parquet,
    }
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise BrokenRanking(f"{file}: a ranking is {FORMS}; save it as one of these")
    if not file.is_file():
        raise BrokenRanking(f"{file} is no file: name the ranking's file, or take it out of rankings")
    lists: dict[str, Sequence[str]] = {}
    places: dict[str, str] = {}
    try:
        for place, query, images in reader(file):
            if query in lists:
                raise BrokenRanking(
                    f"{file}, {place}, query {query}: it stood already at {places[query]}; leave one of the two"
                )
            lists[query], places[query] = images, place
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise BrokenRanking(f"{file} does not read ({error}); save it anew as UTF-8") from error
    if not lists:
        raise BrokenRanking(f"{file} holds no query; it needs {_WANTED}")
    return RankedLists(file, lists, places)


_WANTED = "the columns query_id and image, one row a query and picture, best first"

Lists = Iterator[tuple[str, str, Sequence[str]]]
"""Place, query and pictures of each list."""


def _table_rows(file: Path) -> Lists:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        start = stream.readline()
        separator = max(",;\t", key=start.count)
        heads = [head.strip().lower() for head in next(csv.reader([start], delimiter=separator), [])]
        rows = csv.reader(stream, delimiter=separator)
        numbered = ((f"line {rows.line_num + 1}", row) for row in rows if any(row))
        yield from _lists(file, heads, numbered)


def _parquet(file: Path) -> Lists:
    import polars as pl

    try:
        table = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BrokenRanking(f"{file} is no Parquet file ({error}); save it anew") from error
    heads = [head.strip().lower() for head in table.columns]
    numbered = ((f"row {number}", list(row)) for number, row in enumerate(table.iter_rows(), start=1))
    yield from _lists(file, heads, numbered)


def _lists(file: Path, heads: Sequence[str], rows: Iterable[tuple[str, list[Any]]]) -> Lists:
    """Lists out of a table's rows, one row a query or one a query and picture."""
    query = _column(heads, QUERY_HEADS)
    image, images = _column(heads, IMAGE_HEADS), _column(heads, IMAGES_HEADS)
    ranked = [place for place, head in enumerate(heads) if head.isdecimal()]
    if query is None or (image is None and images is None and not ranked):
        raise BrokenRanking(f"{file} has the columns {', '.join(heads)}; it needs {_WANTED}")
    if image is not None:
        yield from _gathered(file, rows, query, image, _column(heads, ("rank",)))
        return
    ranked.sort(key=lambda column: int(heads[column]))
    for place, row in rows:
        if len(row) != len(heads):
            raise BrokenRanking(f"{file}, {place}: {len(row)} fields, {len(heads)} are expected")
        found = (row[column] for column in ranked) if images is None else row[images] or ()
        yield place, str(row[query]), [str(each) for each in found if each not in ("", None)]


def _gathered(
    file: Path, rows: Iterable[tuple[str, list[Any]]], query: int, image: int, rank: int | None
) -> Lists:
    """Lists out of one row a query and picture; in the rows' order where they have no rank."""
    found: dict[str, dict[float, str]] = {}
    places: dict[str, str] = {}
    before = None
    for place, row in rows:
        if len(row) <= max(query, image, rank or 0):
            raise BrokenRanking(f"{file}, {place}: the row is too short; it needs {_WANTED}")
        name = str(row[query])
        own = found.setdefault(name, {})
        if rank is None and own and name != before:
            raise BrokenRanking(
                f"{file}, {place}, query {name}: it stood already at {places[name]}; leave one of the two lists, or "
                "add a column rank"
            )
        try:
            position = float(row[rank]) if rank is not None else len(own)
        except (TypeError, ValueError):
            raise BrokenRanking(
                f"{file}, {place}, query {name}: rank is {row[rank or 0]!r}, expected a number"
            ) from None
        if position in own:
            raise BrokenRanking(
                f"{file}, {place}, query {name}: rank {row[rank or 0]} stands twice; is the query there twice?"
            )
        own[position] = str(row[image])
        places.setdefault(name, place)
        before = name
    for name, own in found.items():
        yield places[name], name, [own[position] for position in sorted(own)]


def _json_lines(file: Path) -> Lists:
    with file.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield _object(file, f"line {number}", json.loads(line))


def _json(file: Path) -> Lists:
    said = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=_Pairs)
    if not isinstance(said, _Pairs):
        entries = said if isinstance(said, list) else [said]
        for number, entry in enumerate(entries, start=1):
            yield _object(file, f"entry {number}", dict(entry) if isinstance(entry, _Pairs) else entry)
        return
    for number, (query, images) in enumerate(said, start=1):
        if query in SERVER_KEYS and not isinstance(images, list):
            continue
        if not isinstance(images, list):
            raise BrokenRanking(
                f"{file}, entry {number}, query {query}: {images!r} is no list of pictures' ids"
            )
        yield f"entry {number}", query, [str(image) for image in images]


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its keys as often as they stand: a query that is there twice must not go unseen."""


def _object(file: Path, place: str, said: object) -> tuple[str, str, Sequence[str]]:
    """One query's list out of ``{"query_id": …, "images": […]}``."""
    if isinstance(said, dict):
        query = next((said[head] for head in QUERY_HEADS if head in said), None)
        images = next((said[head] for head in IMAGES_HEADS if head in said), None)
        if query is not None and isinstance(images, list):
            return place, str(query), [str(image) for image in images]
    raise BrokenRanking(f'{file}, {place}: expected {{"query_id": "…", "images": ["…", …]}}')


def _column(heads: Sequence[str], names: Sequence[str]) -> int | None:
    return next((heads.index(name) for name in names if name in heads), None)
