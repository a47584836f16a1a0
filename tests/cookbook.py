"""The cookbook's queries: read from docs/sql-cookbook.md, and their real output written back into it.

``python -m tests.cookbook storage/evaluation.duckdb`` runs every query on a published database and writes what it
answers below it. Numbers after the file are the questions asked, by default every one. docs/tables.md is written from
the tables' contracts each time, and alone where no file is named: ``python -m tests.cookbook``.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from cir_assets.store.contracts import PUBLISHED_TABLES, VIEWS

DOCS = Path(__file__).parent.parent / "docs"
COOKBOOK = DOCS / "sql-cookbook.md"
TABLES_PAGE = DOCS / "tables.md"
SHOWN_ROWS = 10

_QUERY = re.compile(r"```sql\n(?P<sql>.*?)```\n(?:\n```\n(?P<answer>.*?)```\n)?", re.DOTALL)
_POLARS = re.compile(r"```python\n(?P<code>.*?)```\n", re.DOTALL)
_QUESTION = re.compile(r"^## (?P<number>\d+)\. (?P<title>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Question:
    """A question of the cookbook, its query, and the same in Polars where it is given."""

    number: int
    title: str
    sql: str
    polars: str | None


def questions() -> list[Question]:
    """Every question of the cookbook, in its order."""
    _, *parts = _QUESTION.split(COOKBOOK.read_text(encoding="utf-8"))
    found = []
    for number, title, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        [sql] = [each["sql"] for each in _QUERY.finditer(body)]
        code = [each["code"] for each in _POLARS.finditer(body)]
        found.append(Question(int(number), title, sql, code[0] if code else None))
    return found


def polars_beginning() -> str:
    """The lines the cookbook's Polars versions begin with."""
    beginning = _POLARS.search(COOKBOOK.read_text(encoding="utf-8"))
    assert beginning is not None
    return beginning["code"]


def answered_by_polars(beginning: str, code: str, database: Path) -> pl.DataFrame:
    """What one of the Polars versions, an expression, gives for a published database."""
    names: dict[str, Any] = {}
    exec(beginning.replace("storage/evaluation.duckdb", str(database)), names)
    answer = eval(f"({code})", names)
    assert isinstance(answer, pl.DataFrame)
    return answer


def tables_page() -> str:
    """Every table and view of the published database, column by column, from their contracts."""
    tables = [(table, "") for table in sorted(PUBLISHED_TABLES, key=lambda table: table.name)]
    tables += [(view, " (view)") for view in sorted(VIEWS, key=lambda view: view.name)]
    links = [f"[{table.name}](#{table.name}{'-view' if kind else ''})" for table, kind in tables]
    lines = [
        "# Tables",
        "",
        "What `storage/evaluation.duckdb` holds, column by column. The database says the same of itself: question 1 of",
        "the [cookbook](sql-cookbook.md) shows how to ask it.",
        "",
        ", ".join(links) + ".",
    ]
    for table, kind in tables:
        lines += ["", f"## {table.name}{kind}", "", table.meaning, ""]
        lines += ["| column | type | meaning |", "|---|---|---|"]
        lines += [f"| `{c.name}` | {c.sql_type} | {c.meaning} |" for c in table.columns]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the answers of a published database below the queries, and its tables' page."""
    TABLES_PAGE.write_text(tables_page(), encoding="utf-8")
    if not sys.argv[1:]:
        return
    numbers = set(map(int, sys.argv[2:])) or set(range(1, len(questions()) + 1))
    asked = {question.sql for question in questions() if question.number in numbers}
    with duckdb.connect(sys.argv[1], read_only=True) as connection:

        def answered(found: re.Match[str]) -> str:
            if found["sql"] not in asked:
                return found[0]
            answer = connection.execute(found["sql"])
            columns = [str(column[0]) for column in answer.description or []]
            rows = answer.fetchall()
            more = len(rows) - SHOWN_ROWS
            lines = _table(columns, rows[:SHOWN_ROWS]) + ([f"… {more} more rows"] if more > 0 else [])
            return f"```sql\n{found['sql']}```\n\n```\n" + "\n".join(lines) + "\n```\n"

        text = COOKBOOK.read_text(encoding="utf-8")
        COOKBOOK.write_text(_QUERY.sub(answered, text), encoding="utf-8")


def _table(columns: list[str], rows: list[tuple[object, ...]]) -> list[str]:
    cells = [columns, *[[_cell(value) for value in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return [
        lines[0].rstrip(),
        "  ".join("-" * width for width in widths),
        *(line.rstrip() for line in lines[1:]),
    ]


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


if __name__ == "__main__":
    main()
