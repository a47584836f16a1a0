"""Any table people export: what is meant is read and told once, what is not is refused by line with the mend."""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import polars as pl
import pytest

from cir_assets.datasets.catalogue import read_catalogue
from cir_assets.datasets.catalogue.table import read_table
from cir_assets.datasets.tables import Annotations, BrokenAnnotations
from tests.datasets.catalogue.conftest import HEADER, ONE, details, read_text, table, told, triplets
from tests.datasets.conftest import subjects


def read_bytes(root: Path, content: bytes, name: str = "t.csv") -> Annotations:
    file = root.parent / name
    file.write_bytes(content)
    return read_catalogue(root, file)


def workbook(*rows: list[Any]) -> bytes:
    """An Excel file of one sheet, as small as the format lets it be."""

    def cell(value: Any, place: str) -> str:
        if value is None:
            return ""
        if isinstance(value, str):
            return f'<c r="{place}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'
        return f'<c r="{place}"><v>{value}</v></c>'

    sheet = "".join(
        f'<row r="{number}">'
        + "".join(cell(value, f"{chr(65 + column)}{number}") for column, value in enumerate(row))
        + "</row>"
        for number, row in enumerate(rows, start=1)
    )
    package = "http://schemas.openxmlformats.org/package/2006"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    parts = {
        "[Content_Types].xml": (
            f'<Types xmlns="{package}/content-types"><Default Extension="xml" ContentType="application/xml"/>'
            "</Types>"
        ),
        "_rels/.rels": (
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" Type="{office}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>'
        ),
        "xl/workbook.xml": (
            f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="S" sheetId="1" r:id="s"/></sheets>'
            "</workbook>"
        ),
        "xl/_rels/workbook.xml.rels": (
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="s" Type="{office}/worksheet" '
            'Target="worksheets/sheet1.xml"/></Relationships>'
        ),
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{sheet}</sheetData></worksheet>',
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, f'<?xml version="1.0"?>{text}')
    return content.getvalue()


def test_a_table_as_excel_saves_it_is_read(root: Path) -> None:
    read = read_bytes(
        root,
        b"\xef\xbb\xbf;;;;\r\nReference ;TARGET;Relative Caption;Split;;\r\n"
        b"p0.jpg;p1.jpg;is red;val;;\r\n;;;;;\r\np0.jpg;p2.jpg;is; blue;val;;\r\n"
        b"p1.jpg;p2.jpg;is \xc3\xa9;val;;\r\n;;;;;\r\n",
    )
    assert triplets(read) == [*ONE, ("p1.jpg", "p2.jpg", ["is é"])]
    assert read.triplets["triplet_id"].to_list() == ["row-1", "row-3"]
    assert details(read, "broken_row") == [
        "line 5: expected 4 cells (Reference, TARGET, Relative Caption, Split), found 7; put a cell that holds a "
        "separator into double quotes; row dropped"
    ]
    assert details(read, "assumed") == [
        "column Relative Caption is read as caption",
        "columns are parted by ';', as the header's are",
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_what_parts_columns_is_seen_in_the_header(root: Path, separator: str, ending: str) -> None:
    lines = [
        line.replace("/", separator) for line in ("reference/target/caption/split", "p0/p1.jpg/is red/val")
    ]
    read = read_text(root, *lines, name=f"t.{ending}")
    assert triplets(read) == ONE
    assert len(details(read, "assumed")) == (separator != {"csv": ",", "tsv": "\t"}[ending])


def test_excel_s_own_hint_of_the_separator_is_no_header(root: Path) -> None:
    assert triplets(read_text(root, "sep=;", HEADER.replace(",", ";"), "p0;p1;is red;val")) == ONE


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (b"\xef\xbb\xbf", "utf-8"),
        (2 * b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
        (b"\xff\xfe\0\0", "utf-32-le"),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_text_is_read_in_every_encoding_that_says_so(
    root: Path, mark: bytes, encoding: str, ending: str
) -> None:
    row = {"reference": "p0.jpg", "target": "p1.jpg", "caption": "ombré 👗", "split": "val"}
    text = f"{','.join(row)}\n{','.join(row.values())}\n" if ending == "csv" else json.dumps(row)
    read = read_bytes(root, mark + text.encode(encoding), f"t.{ending}")
    assert triplets(read) == [("p0.jpg", "p1.jpg", ["ombré 👗"])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEADER}\np0,p1,ok,val\np0,p1,ombré,val".encode("cp1252"), "line 3: byte 0xe9 .*'é': .*CSV UTF-8"),
        (f"{HEADER}\r\rp0,p1,ombré,val".encode("cp1252"), "line 3: byte 0xe9 is no UTF-8"),
        (b"\xff\xfer\0e\0f\0\n\0\x00\xd8", "line 2: byte 0x00 is no UTF-16 text; save it as UTF-8"),
        (HEADER.encode("utf-16-le"), "line 1: no text, or UTF-16 without a byte order mark"),
        (f'{HEADER}\np0,p1,ok,val\np0,p1,"open,val\np2,p3,x,val'.encode(), "line 3: unexpected end of data"),
        (f'{HEADER}\np0,p1,"open,val\np2,p3,"x",val'.encode(), r"line 2: .*\(met in line 3\)"),
        (f'{HEADER}\np0,p1,"{"long " * 40_000}'.encode(), "line 2: field larger than field limit"),
        (b"p0.jpg,p1.jpg,is red\n", "line 1: no column reference, .*found p0.jpg, .*named in the first row"),
        (b"Reference,REFERENCE,target,caption\n", "line 1: column reference stands there twice"),
        (b"text,Text,reference,target\n", "line 1: column text stands there twice"),
        (b"image,target,caption\n", "line 1: no column reference; found image, target, caption"),
        (b"", "line 1: no column reference, target, caption; found nothing"),
        (b"\n,,\n\n", "line 1: no column reference, target, caption; found nothing"),
    ],
)
def test_what_cannot_be_read_is_refused_by_line(root: Path, content: bytes, message: str) -> None:
    with pytest.raises(BrokenAnnotations, match=rf"t\.csv, {message}"):
        read_bytes(root, content)


def test_a_quote_that_swallows_a_row_is_told(root: Path) -> None:
    read = read_text(
        root,
        HEADER,
        'p0,p1,"is red',
        'p2,p3,is blue",val',
        'p0,p2,"two lines',
        'are fine",val',
    )
    assert [captions for _, _, captions in triplets(read)] == [
        ["is red\np2,p3,is blue"],
        ["two lines\nare fine"],
    ]
    assert details(read, "odd_text") == [
        "line 2: a quoted cell goes on to line 3 and holds what looks like rows: is a quote missing?; kept"
    ]


def test_a_comma_too_much_never_shortens_a_caption(root: Path) -> None:
    read = read_text(root, f"{HEADER},,", "p0,p1,is red,val,,", "p0,p1,is, blue,val,")
    assert triplets(read) == ONE
    assert subjects(read, "broken_row") == ["row-2"]


def test_an_excel_workbook_is_read(root: Path) -> None:
    content = workbook(
        [],
        ["Reference", "Target", "Caption", "Split", None],
        ["p0", "p1.jpg", "is red", "val"],
        [],
        ["p0", "gone", "is red", "val"],
    )
    read = read_bytes(root, content, "t.xlsx")
    assert triplets(read) == ONE
    assert details(read, "unknown_picture") == ["row 5: no picture gone; row dropped"]


@pytest.mark.parametrize("content", [b"", b"PK\3\4 nonsense", workbook(["a"])[:300], workbook()])
def test_what_is_no_workbook_is_refused(root: Path, content: bytes) -> None:
    with pytest.raises(BrokenAnnotations, match=r"t\.xlsx.*(save it anew|no column reference)"):
        read_bytes(root, content, "t.xlsx")


def test_what_pandas_writes_for_nothing_is_nothing(root: Path) -> None:
    nothing = {"caption_2": math.nan, "category": math.nan, "set": None, "members": None}
    rows = [{"reference": "p0", "target": "p1", "caption": "is red", "split": math.nan, **nothing}] * 1
    rows += [{**rows[0], "reference": "p2", "target": "p3"}, {**rows[0], "reference": "p4", "target": "p5"}]
    file = root.parent / "t.parquet"
    pl.DataFrame(rows).write_parquet(file)
    read = read_catalogue(root, file, val_share=0.34, test_share=0.34)
    assert [captions for _, _, captions in triplets(read)] == [["is red"]] * 3
    assert set(read.galleries["category"]) == {"all"}
    assert told(read) == set()
    lines = [json.dumps(row) for row in rows]
    again = read_catalogue(root, table(root.parent, *lines, name="t.jsonl"), val_share=0.34, test_share=0.34)
    assert again.triplets.equals(read.triplets)
    flat = pl.DataFrame(rows).cast(pl.String).fill_null("nan").write_csv()
    text = read_catalogue(root, table(root.parent, flat, name="n.csv"), val_share=0.34, test_share=0.34)
    assert text.triplets.equals(read.triplets)


def test_half_a_character_is_told_and_the_row_is_kept(root: Path) -> None:
    read = read_text(
        root,
        r'{"reference": "p0.jpg", "target": "p1.jpg", "caption": "so cute \ud83d", "split": "val"}',
        r'{"reference": "p0.jpg", "target": "p2.jpg", "caption": "so cute \ud83d\ude00", "split": "val"}',
        name="t.jsonl",
    )
    assert [captions for _, _, captions in triplets(read)] == [["so cute \ufffd"], ["so cute 😀"]]
    assert [detail[:40] for detail in details(read, "odd_text")] == [
        "line 1: half a character under caption, "
    ]


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("target", [b"\xff"]),
        pl.Series("target", [["p1.jpg"]]),
        pl.Series("target", [{"id": "p1.jpg"}]),
    ],
)
def test_parquet_columns_that_hold_no_text_are_refused_by_name(root: Path, column: pl.Series) -> None:
    pl.DataFrame({"reference": ["p0.jpg"], "caption": ["x"]}).with_columns(column).write_parquet(
        root.parent / "t.parquet"
    )
    with pytest.raises(BrokenAnnotations, match=r"column target holds .*, expected text"):
        read_catalogue(root, root.parent / "t.parquet")


def test_a_table_of_a_name_with_brackets_is_no_pattern(root: Path) -> None:
    pl.DataFrame(
        {"reference": ["p0"], "target": ["p1"], "caption": ["is red"], "split": ["val"]}
    ).write_parquet(root.parent / "t[1]*.parquet")
    assert triplets(read_catalogue(root, root.parent / "t[1]*.parquet")) == ONE


def test_an_absent_or_forbidden_table_is_named(unprivileged: Path) -> None:
    with pytest.raises(BrokenAnnotations, match=r"gone\.csv cannot be read: No such file"):
        read_table(unprivileged / "gone.csv")
    os.mkfifo(unprivileged / "pipe.csv")
    with pytest.raises(BrokenAnnotations, match=r"pipe\.csv is no file"):
        read_table(unprivileged / "pipe.csv")
    file = table(unprivileged, HEADER)
    file.chmod(0)
    with pytest.raises(BrokenAnnotations, match=r"table\.csv cannot be read: Permission denied"):
        read_table(file)
