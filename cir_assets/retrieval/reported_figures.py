"""Figures others reported, to stand beside ours where data set, split and protocol are equal.

They stand in ``published_figures.csv`` beside this file, one figure a row, each with its source; files of the same
form may be added to a storage folder.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import chain
from pathlib import Path

import polars as pl

from cir_assets.retrieval.protocols import HEADLINE, METRICS, PROTOCOLS, metric_name
from cir_assets.store.contracts import PUBLISHED_RESULTS, frame

BUNDLED = files("cir_assets").joinpath("retrieval/published_figures.csv")
"""Every figure that comes with the project."""

KEY = ("system", "venue", "backbone", "dataset", "split", "protocol", "category", "metric", "k")
"""What names one figure."""


class WrongFigures(ValueError):
    """Published figures that cannot be taken; the message names file and line, what was expected, and the mend."""


def reported_figures(added: Sequence[Path] = ()) -> pl.DataFrame:
    """Every figure others reported, one a row, in percent; as ``PUBLISHED_RESULTS``.

    Args:
        added: further files of the same form.

    Raises:
        WrongFigures: a file has other columns, a value that does not fit its column, a protocol or metric that there
            is not, or a figure that stands there twice, here or in another file.
    """
    seen: dict[tuple[object, ...], str] = {}
    rows = []
    for where, row in chain(_rows("published_figures.csv", BUNDLED.read_text("utf-8")), *map(_added, added)):
        key = tuple(row[name] for name in KEY)
        if key in seen:
            name = metric_name((str(row["metric"]), int(str(row["k"]))))
            raise WrongFigures(
                f"{where}: {row['system']} ({row['venue']}) has {name} "
                f"under {row['protocol']}, category {row['category']}, already in {seen[key]}; remove one of them"
            )
        seen[key] = where
        rows.append(row)
    return frame(PUBLISHED_RESULTS, rows)


def figures_of_others(added: Sequence[Path]) -> tuple[pl.DataFrame, list[str]]:
    """What others published, a person's files too, and a sentence for each file that is left out, whole."""
    taken: list[Path] = []
    wrong = []
    for file in added:
        try:
            reported_figures([*taken, file])
            taken.append(file)
        except WrongFigures as error:
            wrong.append(f"{file} is left out: {error}")
    return reported_figures(taken), wrong


def _added(file: Path) -> Iterator[tuple[str, dict[str, object]]]:
    try:
        return _rows(str(file), file.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise WrongFigures(f"{file} cannot be read ({error}); save it as CSV in UTF-8") from error


def _rows(name: str, text: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Each row of a file, checked, and where it stands."""
    reader = csv.DictReader(text.splitlines())
    if reader.fieldnames != PUBLISHED_RESULTS.names:
        raise WrongFigures(
            f"{name}, line 1: expected the columns {','.join(PUBLISHED_RESULTS.names)}, found "
            f"{','.join(reader.fieldnames or ())}"
        )
    for read in reader:
        yield f"{name}, line {reader.line_num}", _checked(f"{name}, line {reader.line_num}", read)


def _checked(where: str, read: dict[str, str]) -> dict[str, object]:
    """A row in its columns' types.

    Raises:
        WrongFigures: when it does not fit.
    """
    for column in PUBLISHED_RESULTS.columns:
        value = read[column.name]
        if not value:
            raise WrongFigures(f"{where}: {column.name} is empty; it is {column.meaning}")
        if column.among and value not in column.among:
            raise WrongFigures(
                f"{where}: {column.name} is {value!r}, expected one of {', '.join(column.among)}"
            )
    if read["protocol"] not in PROTOCOLS:
        raise WrongFigures(
            f"{where}: there is no protocol {read['protocol']!r}; there are {', '.join(PROTOCOLS)}"
        )
    try:
        row: dict[str, object] = {
            **read,
            "year": int(read["year"]),
            "k": int(read["k"]),
            "value": float(read["value"]),
        }
    except ValueError as error:
        raise WrongFigures(f"{where}: year and k are whole numbers and value is percent ({error})") from error
    if not 0 <= float(read["value"]) <= 100:
        raise WrongFigures(f"{where}: value is {read['value']}; expected percent, 0 to 100")
    if read["metric"] not in METRICS or (read["metric"] == HEADLINE) != (row["k"] == 0):
        raise WrongFigures(
            f"{where}: {read['metric']} at {read['k']} is no metric; expected {', '.join(METRICS)} with its k, which "
            f"is 0 for the {HEADLINE} alone"
        )
    return row
