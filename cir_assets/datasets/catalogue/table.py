"""A table's file, of whatever kind people export, as cells of text that know their line."""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import polars as pl

from cir_assets.datasets.catalogue.columns import COLUMNS, Meaning, meaning_of, require
from cir_assets.datasets.tables import BrokenAnnotations

CELLS = pl.Schema(
    {"line": pl.Int64(), **dict.fromkeys(COLUMNS, pl.String()), "broken": pl.String(), "odd": pl.String()}
)
"""One row a row that is not blank: the line or row it begins in, from 1; its cells, null where empty or absent;
why it cannot be used; and what is odd about it though it can."""

SEPARATORS = (",", ";", "\t", "|")

NOT_A_VALUE = ("nan", "NaN", "NaT", "<NA>")
"""How pandas writes that there is nothing."""

_ROW = "number of the row"
_CHUNK = 50_000
_HEAD = 1 << 16


@dataclass(frozen=True)
class Table:
    """What a file holds.

    Attributes:
        file: where it is.
        unit: what ``line`` counts: "line" of a text, else "row".
        cells: ``CELLS``.
        assumed: sentences about how it was read where that was not said.
    """

    file: Path
    unit: str
    cells: pl.DataFrame
    assumed: list[str]

    def where(self, line: int) -> str:
        """The place of a row, for messages."""
        return f"{self.file}, {self.unit} {line}"


def read_table(file: Path) -> Table:
    """Read a .csv, .tsv, .jsonl, .ndjson, .parquet or .xlsx file.

    Text is UTF-8, or UTF-16 or UTF-32 with their byte order mark. What parts the columns of a CSV is decided by its
    header. Blank rows are passed over. Lists under ``members`` become JSON. A row that cannot be read is ``broken``:
    it has another number of cells than the header, is no JSON object, or holds no text where one is needed.

    Raises:
        BrokenAnnotations: the file as a whole cannot be read: another kind, no such text, a quote that is not closed,
            no header with the columns that are needed.
    """
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise BrokenAnnotations(
            f"{file}: expected a table named .csv, .tsv, .jsonl, .parquet or .xlsx; export it as one of them"
        )
    try:
        # A pipe would be waited for without end.
        if not stat.S_ISREG(file.stat().st_mode):
            raise BrokenAnnotations(f"{file} is no file: name a table")
        table = reader(file)
    except UnicodeError as error:
        raise BrokenAnnotations(_undecodable(file)) from error
    except OSError as error:
        raise BrokenAnnotations(f"{file} cannot be read: {error.strerror or error}") from error
    text = pl.col(COLUMNS).str.strip_chars()
    cells = table.cells.with_columns(
        pl.when(text.is_in(["", *NOT_A_VALUE])).then(None).otherwise(text).name.keep()
    )
    return Table(file, table.unit, cells, table.assumed)


def _framed(rows: Iterator[tuple[Any, ...]], columns: Sequence[str] = tuple(CELLS)) -> pl.DataFrame:
    """A frame of ``CELLS`` from rows of some of its columns; in stretches, so that Python holds few at a time."""
    schema = {column: CELLS[column] for column in columns}
    frames = [pl.DataFrame(schema=schema)]
    while stretch := list(islice(rows, _CHUNK)):
        frames.append(
            pl.DataFrame(dict(zip(columns, zip(*stretch, strict=True), strict=True)), schema=schema)
        )
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in CELLS.items() if name not in schema]
    return pl.concat(frames).with_columns(absent).select(list(CELLS))


def _delimited(file: Path) -> Table:
    encoding = _encoding(file)
    with file.open(encoding=encoding, newline="") as stream:
        head = stream.read(_HEAD)
    expected = "\t" if file.suffix.lower() == ".tsv" else ","
    separator = _separator(head, expected)
    with file.open(encoding=encoding, newline="") as stream:
        # A file that was saved with a byte order mark and then once more has two.
        lines = (line.lstrip("\ufeff") if number == 0 else line for number, line in enumerate(stream))
        reader = csv.reader(lines, delimiter=separator, strict=True)
        table = _from_records(file, "line", _records(reader, file), separator)
    if encoding != "utf-8-sig":
        table.assumed.append(f"the text is {encoding.upper()}")
    if separator != expected:
        said = "a tab" if separator == "\t" else repr(separator)
        table.assumed.append(f"columns are parted by {said}, as the header's are")
    return table


def _records(reader: Any, file: Path) -> Iterator[tuple[int, int, list[str]]]:
    """The lines a row begins and ends in, and its cells; blank rows are passed over."""
    while True:
        began = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BrokenAnnotations(
                f"{file}, line {began}: {error} (met in line {reader.line_num}); a cell that begins with a double "
                "quote must end with one, and a quote within it is written twice"
            ) from error
        if any(cells) and "".join(cells).strip():
            yield began, reader.line_num, cells


def _from_records(
    file: Path, unit: str, records: Iterator[tuple[int, int, list[str]]], separator: str = ","
) -> Table:
    """A table whose first row that is not blank names the columns."""
    line, _, headers = next(records, (1, 1, []))
    if re.fullmatch("sep=.?", "".join(headers).strip(), re.IGNORECASE):
        line, _, headers = next(records, (line + 1, line + 1, []))
    while headers and not headers[-1].strip():
        headers.pop()
    where = f"{file}, {unit} {line}"
    if any("\0" in header for header in headers):
        raise BrokenAnnotations(f"{where}: no text, or UTF-16 without a byte order mark; save it as UTF-8")
    meaning = meaning_of(headers, where)
    require(meaning, headers, where)
    read, width = itemgetter(*meaning.places.values()), len(headers)

    def rows() -> Iterator[tuple[Any, ...]]:
        for began, ended, cells in records:
            broken = odd = None
            if len(cells) != width and (len(cells) < width or "".join(cells[width:]).strip()):
                broken = (
                    f"expected {width} cells ({', '.join(header.strip() for header in headers)}), found "
                    f"{len(cells)}; put a cell that holds a separator into double quotes"
                )
                cells = [""] * width
            elif ended > began and _holds_rows(cells, separator):
                odd = f"a quoted cell goes on to line {ended} and holds what looks like rows: is a quote missing?"
            yield began, *read(cells), broken, odd

    cells = _framed(rows(), ("line", *meaning.places, "broken", "odd"))
    return Table(file, unit, cells, _about_columns(meaning))


def _holds_rows(cells: list[str], separator: str) -> bool:
    """Whether a line within a cell begins as a row does: with as many cells as stand before this one."""
    return any(
        len(re.findall(rf"{re.escape(separator)}\S", line)) >= max(1, place)
        for place, cell in enumerate(cells)
        for line in cell.splitlines()[1:]
    )


def _about_columns(meaning: Meaning) -> list[str]:
    assumed = [f"column {written} is read as {column}" for written, column in meaning.other_words]
    if meaning.unread:
        more = f" and {len(meaning.unread) - 20} more" if len(meaning.unread) > 20 else ""
        assumed.append(f"columns that are not read: {', '.join(meaning.unread[:20])}{more}")
    return assumed


def _separator(head: str, expected: str) -> str:
    """Whichever makes of the header most columns that are known; ``expected`` where none is better."""
    if said := re.match('\ufeff*"?sep=([^\r\n"])', head, re.IGNORECASE):
        return said[1]

    def columns(separator: str) -> int:
        reader = csv.reader(io.StringIO(head.lstrip("\ufeff"), newline=""), delimiter=separator)
        try:
            headers = next((cells for cells in reader if "".join(cells).strip(f" {''.join(SEPARATORS)}")), [])
            return len(meaning_of(headers, "").places)
        except (csv.Error, BrokenAnnotations):
            return 0

    return max((expected, *SEPARATORS), key=columns)


def _encoding(file: Path) -> str:
    with file.open("rb") as stream:
        begin = stream.read(4)
    if begin in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        return "utf-32"
    return "utf-16" if begin[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _undecodable(file: Path) -> str:
    """Say where a file is no text, and what it may be."""
    encoding, content = _encoding(file), file.read_bytes()
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding, "ignore")
        line = len(re.findall("\r\n|\r|\n", before)) + 1
        wrong = content[error.start : error.start + 1].hex()
        if encoding != "utf-8-sig":
            return f"{file}, line {line}: byte 0x{wrong} is no {encoding.upper()} text; save it as UTF-8"
        return (
            f"{file}, line {line}: byte 0x{wrong} is no UTF-8 text; as Windows-1252 it would be "
            f"{content[error.start : error.start + 1].decode('cp1252', 'replace')!r}: save it as UTF-8 "
            "(in Excel: CSV UTF-8)"
        )
    return f"{file}: changed while it was read; try again"


def _json_lines(file: Path) -> Table:
    meanings: dict[tuple[str, ...], Meaning] = {}
    other_words: dict[tuple[str, str], None] = {}
    unread: dict[str, None] = {}

    def row_of(number: int, line: str) -> tuple[Any, ...]:
        try:
            row = json.loads(line, object_pairs_hook=_object)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"column {error.colno}: no valid JSON, {error.msg}; expected one object a line"
            ) from error
        except RecursionError as error:
            raise ValueError("lists within lists without end; expected one object a line") from error
        if not isinstance(row, dict):
            raise ValueError(f"expected an object, found {line.strip():.60}")
        keys = tuple(row)
        meaning = meanings.get(keys)
        if meaning is None:
            meaning = meanings[keys] = meaning_of(keys, "")
            other_words.update(dict.fromkeys(meaning.other_words))
            unread.update(dict.fromkeys(meaning.unread))
        if "reference" not in meaning.places:
            raise ValueError(f"no column reference; found {', '.join(keys)[:100] or 'nothing'}")
        values = {column: row[keys[place]] for column, place in meaning.places.items()}
        texts = {column: _text(value, column) for column, value in values.items()}
        odd = None
        if "\\u" in line:
            whole = {column: _whole_characters(text) for column, text in texts.items() if text}
            halves = [column for column, text in whole.items() if text != texts[column]]
            texts |= whole
            if halves:
                odd = f"half a character under {', '.join(halves)}, as when a text was cut; U+FFFD stands for it"
        return number, *(texts.get(column) for column in COLUMNS), None, odd

    def rows(stream: Iterator[str]) -> Iterator[tuple[Any, ...]]:
        for number, line in enumerate(stream, start=1):
            line = line.strip("\ufeff \t\r\n") if number == 1 else line.rstrip()
            if not line:
                continue
            try:
                yield row_of(number, line)
            except ValueError as error:
                yield number, *[None] * len(COLUMNS), _whole_characters(str(error)), None

    encoding = _encoding(file)
    with file.open(encoding=encoding) as stream:
        cells = _framed(rows(stream))
    assumed = _about_columns(Meaning({}, list(other_words), list(unread)))
    if encoding != "utf-8-sig":
        assumed.append(f"the text is {encoding.upper()}")
    return Table(file, "line", cells, assumed)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} stands there twice")
    return row


def _text(value: Any, column: str) -> str | None:
    """A JSON value as text; a list under ``members`` as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if (
        column == "members"
        and isinstance(value, list)
        and not any(isinstance(each, list | dict) for each in value)
    ):
        return json.dumps([_text(each, "") for each in value])
    raise ValueError(f"expected a text under {column!r}, found {value!r:.60}")


def _whole_characters(text: str) -> str:
    """The text with U+FFFD for each half of a character, which no file could hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _parquet(file: Path) -> Table:
    try:
        scan = pl.scan_parquet(file, glob=False, hive_partitioning=False)
        headers = scan.collect_schema().names()
        meaning = meaning_of(headers, str(file))
        require(meaning, headers, str(file))
        filled = scan.with_row_index(_ROW, offset=1).filter(~pl.all_horizontal(pl.col(headers).is_null()))
        read = filled.select(_ROW, *(headers[place] for place in meaning.places.values())).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise BrokenAnnotations(
            f"{file} cannot be read as Parquet: {_first_line(error)}; write it anew"
        ) from error
    columns = {
        column: _as_text(read[headers[place]], column, file) for column, place in meaning.places.items()
    }
    nothing = pl.Series([None] * read.height, dtype=pl.String)
    cells = pl.DataFrame({name: columns.get(name, nothing) for name in CELLS}).with_columns(line=read[_ROW])
    return Table(file, "row", cells.cast(CELLS), _about_columns(meaning))


def _as_text(column: pl.Series, name: str, file: Path) -> pl.Series:
    """A column of Parquet as text: NaN is nothing, a whole number has no point, a list is JSON."""
    dtype = column.dtype
    try:
        if isinstance(dtype, pl.List | pl.Array) and name == "members":
            texts = column.cast(pl.List(pl.String))
            return pl.Series(
                name, [None if each is None else json.dumps(each.to_list()) for each in texts], pl.String
            )
        if dtype.is_float():
            whole = column.is_finite() & (column == column.round()) & (column.abs() < 1e15)
            return (
                pl.select(
                    pl.when(whole)
                    .then(column.cast(pl.Int64, strict=False).cast(pl.String))
                    .when(column.is_nan())
                    .then(None)
                    .otherwise(column.cast(pl.String))
                )
                .to_series()
                .alias(name)
            )
        if not dtype.is_nested() and dtype != pl.Binary:
            return column.cast(pl.String).alias(name)
    except pl.exceptions.PolarsError:
        pass
    raise BrokenAnnotations(f"{file}: column {column.name} holds {dtype}, expected text; write it as strings")


def _excel(file: Path) -> Table:
    from fastexcel import FastExcelError

    try:
        read = pl.read_excel(
            file.read_bytes(),
            sheet_id=1,
            has_header=False,
            infer_schema_length=0,
            # Rows are counted as the program shows them, blank ones at the top too.
            read_options={"skip_rows": 0},
            drop_empty_rows=False,
            drop_empty_cols=False,
            raise_if_empty=False,
        )
    except (FastExcelError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise BrokenAnnotations(
            f"{file} cannot be read as an Excel workbook: {_first_line(error)}; save it anew, or as CSV UTF-8"
        ) from error
    rows = (
        (number, number, ["" if cell is None else cell for cell in row])
        for number, row in enumerate(read.iter_rows(), start=1)
        if any(cell is not None and cell.strip() for cell in row)
    )
    return _from_records(file, "row", rows)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:300]


_READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _delimited,
    ".tsv": _delimited,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
    ".xlsx": _excel,
}
