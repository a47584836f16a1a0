"""Whatever a table or a folder holds: a refusal that names the file, or every row and file accounted for.

``CIR_ASSETS_FUZZ=30000`` runs that many inputs of each kind instead of sixty.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from cir_assets.datasets.catalogue import read_catalogue
from cir_assets.datasets.catalogue.folder import NOT_PEOPLE_S, printable
from cir_assets.datasets.catalogue.table import read_table
from cir_assets.datasets.dataset_source import WatchedFiles
from cir_assets.datasets.tables import Annotations, BrokenAnnotations
from cir_assets.pictures.opening import ENDINGS
from tests.datasets.catalogue.conftest import pictures
from tests.datasets.catalogue.test_table import workbook

whatever = settings(
    max_examples=int(os.environ.get("CIR_ASSETS_FUZZ", "60")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

NAMES = (
    "p0.jpg",
    "p0.png",
    "red dress 1.jpg",
    "hats/é.jpg",
    "hats/e\u0301.png",
    "12.jpg",
    "[a].gif",
    "B.JPG",
)
HEADERS = ("reference", "target", "caption", "caption_2", "split", "category", "set", "members")
OTHER_HEADERS = ("Candidate", "IMAGE", "text", "", "price", "Reference ", "caption", "\ufeffsplit", "sep=;")
CELLS = st.one_of(
    st.sampled_from(
        [
            *NAMES,
            *("p0", "P0.JPG", "12.0", "0012", "nan", "", " ", "../x", "C:\\x", "/", ".", "is red", "é"),
            *(
                "train",
                "val",
                "test",
                "dev",
                "eval",
                "mean",
                "all",
                "['p0.jpg', 'B.JPG']",
                "[[1]]",
                "['a' 'b",
            ),
            *(
                "p0.jpg|B.JPG|gone",
                "red dress 1.jpg B.JPG",
                '"',
                "a,b;c\td",
                "\u2028",
                "\0",
                "x\ny,z,",
                "=1+1",
            ),
        ]
    ),
    st.text(max_size=20),
)
JSON_VALUES = st.recursive(
    CELLS | st.none() | st.booleans() | st.floats() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(CELLS, inner, max_size=2),
    max_leaves=4,
)
TOKENS = [
    *(
        b'"',
        b",",
        b";",
        b"\t",
        b"\n",
        b"\r",
        b"\0",
        b"\xe9",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\\ud83d",
        b"{",
        b"[",
    ),
    *(b"NaN", b"Infinity", b"1e999", b"null", b"reference", b"mean", b"PAR1", b"|", b"'", b"\xed\xa0\xbd"),
]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["put", "cut", "flip", "double", "end"]),
        st.integers(0, 4_000),
        st.integers(0, 60),
        st.sampled_from(TOKENS),
    ),
    max_size=3,
)


def edited(content: bytes, edits: list[tuple[str, int, int, bytes]]) -> bytes:
    """The bytes after a few accidents: something put in, cut out, flipped, doubled, or the rest lost."""
    for kind, place, length, token in edits:
        at = place % (len(content) + 1)
        before, part, after = content[:at], content[at : at + length], content[at + length :]
        content = {
            "put": before + token + part + after,
            "cut": before + after,
            "flip": before + bytes(byte ^ (1 << place % 8) for byte in part[:1]) + part[1:] + after,
            "double": before + part + part + after,
            "end": before,
        }[kind]
    return content


@pytest.fixture(scope="module")
def root() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        yield pictures(Path(folder) / "pictures", *NAMES)


PLAIN = {
    "reference": st.sampled_from(NAMES[1:]),
    "target": st.sampled_from(NAMES[1:]),
    "caption": st.sampled_from(["is red", "is blue, and round", "ombré"]),
    "split": st.just("val"),
    "members": st.sampled_from(["", "p0.jpg|B.JPG", "red dress 1.jpg"]),
}


@st.composite
def headers_and_rows(draw: st.DrawFn, cells: st.SearchStrategy[Any]) -> tuple[list[str], list[list[Any]]]:
    """A table that mostly makes sense, with odd cells from ``cells`` here and there."""
    more = draw(st.lists(st.sampled_from(HEADERS[3:] + OTHER_HEADERS), max_size=4, unique=True))
    headers = draw(st.permutations([*HEADERS[:3], *more]))
    row = st.tuples(*(PLAIN.get(header, st.just("")) for header in headers))
    rows = [list(each) for each in draw(st.lists(row, max_size=8))]
    for number, place, cell in draw(
        st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), cells), max_size=4)
    ):
        if rows:
            rows[number % len(rows)][place % len(headers)] = cell
    return headers, rows


def as_csv(headers: list[str], rows: list[list[Any]], separator: str, encoding: str) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator).writerows([headers, *rows])
    return text.getvalue().encode(encoding, "surrogatepass")


def as_json_lines(headers: list[str], rows: list[list[Any]]) -> bytes:
    return b"\n".join(json.dumps(dict(zip(headers, row, strict=True))).encode() for row in rows)


def as_parquet(headers: list[str], rows: list[list[Any]]) -> bytes:
    columns = {
        header: pl.Series([row[place] for row in rows], dtype=pl.String)
        for place, header in enumerate(headers)
    }
    content = io.BytesIO()
    pl.DataFrame(columns).write_parquet(content)
    return content.getvalue()


@whatever
@given(
    table=headers_and_rows(CELLS),
    edits=EDITS,
    separator=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    ending=st.sampled_from(["csv", "tsv"]),
)
def test_a_text_of_columns(
    root: Path, table: Any, edits: Any, separator: str, encoding: str, ending: str
) -> None:
    accounted(root, f"t.{ending}", edited(as_csv(table[0], table[1], separator, encoding), edits))


@whatever
@given(table=headers_and_rows(JSON_VALUES), edits=EDITS)
def test_lines_of_json(root: Path, table: Any, edits: Any) -> None:
    accounted(root, "t.jsonl", edited(as_json_lines(*table), edits))


@whatever
@given(table=headers_and_rows(CELLS), edits=EDITS)
def test_parquet(root: Path, table: Any, edits: Any) -> None:
    accounted(root, "t.parquet", edited(as_parquet(*table), edits))


@whatever
@given(table=headers_and_rows(st.sampled_from(["p0.jpg", "B.JPG", "is red", 12, 1.5, None])), edits=EDITS)
def test_workbooks(root: Path, table: Any, edits: Any) -> None:
    accounted(root, "t.xlsx", edited(workbook(table[0], *table[1]), edits))


def accounted(root: Path, name: str, content: bytes) -> None:
    """A refusal that names the table, or every row of it is a triplet, a placement or told."""
    file = root.parent / name
    file.write_bytes(content)
    try:
        read = read_catalogue(root, file, val_share=0, test_share=0)
    except BrokenAnnotations as refusal:
        event("refused")
        assert re.match(re.escape(str(file)), str(refusal))  # noqa: PT017 - a refusal is one right outcome of two
        assert str(refusal).encode()  # noqa: PT017
        return
    event("read")
    written(read)
    cells = read_table(file).cells
    every = {f"row-{number}" for number in range(1, cells.height + 1)}
    placing = cells.with_row_index("number", offset=1).filter(
        pl.all_horizontal(pl.col("target", "caption", "caption_2", "broken").is_null())
    )
    assert every == {
        *read.triplets["triplet_id"],
        *read.issues["subject"].filter(read.issues["subject"].is_in(every)),
        *(f"row-{number}" for number in placing["number"]),
    }


def written(read: Annotations) -> None:
    """What was read can be written as any file holds it."""
    for table in (read.pictures, read.galleries, read.triplets, read.issues):
        table.write_parquet(io.BytesIO())


FOLDER_NAMES = st.sampled_from(
    [
        *(
            b"a.png",
            b"b.JPG",
            b"c.jfif",
            b"d.heic",
            b"e.txt",
            b"f",
            b".g.png",
            b"Thumbs.db",
            b"__MACOSX",
            b"h.png ",
        ),
        *(
            b"caf\xe9.png",
            "é.png".encode(),
            "e\u0301.png".encode(),
            b"i\nj.png",
            b"k\\l.png",
            b"\xff",
            b"m.gif",
        ),
        *(b"n" * 200 + b".png", b"o.\xff", b"-p.png", b"q.png.heic"),
    ]
)
KINDS = st.sampled_from(
    ["picture", "picture", "empty", "folder", "folder", "nowhere", "itself", "up", "link", "pipe"]
)


def make(place: Path, kind: str, places: list[Path]) -> None:
    """One thing in a folder; nothing where there is one of that name."""
    ways: dict[str, Callable[[], object]] = {
        "picture": lambda: place.write_bytes(os.fsencode(place)),
        "empty": place.touch,
        "folder": place.mkdir,
        "nowhere": lambda: place.symlink_to("/nowhere/at/all"),
        "itself": lambda: place.symlink_to(place.name),
        "up": lambda: place.symlink_to(".."),
        "link": lambda: place.symlink_to(places[len(place.name) % len(places)]),
        "pipe": lambda: os.mkfifo(place),
    }
    if not os.path.lexists(place):
        ways[kind]()
        if kind == "folder":
            places.append(place)


@whatever
@given(things=st.lists(st.tuples(st.integers(0, 9), FOLDER_NAMES, KINDS), max_size=20))
def test_a_folder(things: list[tuple[int, bytes, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "pictures"
        root.mkdir()
        places = [root]
        for where, raw_name, kind in things:
            make(places[where % len(places)] / os.fsdecode(raw_name), kind, places)
        read = read_catalogue(root, None)
        written(read)
        source = WatchedFiles(root, None)
        assert source.state() == source.state()
        images, told = set(read.pictures["image"]), set(read.issues["subject"])
        for place, folders, files in os.walk(str(root)):
            folders[:] = [name for name in folders if not passed_over(name) and printable(name) == name]
            for name in files:
                path = (Path(place) / name).relative_to(root).as_posix()
                ending = PurePosixPath(name).suffix.lower()
                among_others = ending not in ENDINGS and (printable(ending) or "no ending") in told
                assert passed_over(name) or path in images or printable(path) in told or among_others


def passed_over(name: str) -> bool:
    return name.startswith(".") or name.casefold() in NOT_PEOPLE_S
