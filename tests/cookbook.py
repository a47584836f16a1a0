"""The cookbook's queries: read from docs/sql-cookbook.md, and their real output written back into it.

``python -m tests.cookbook storage/evaluation.duckdb`` runs every query on a published database and writes what it
answers below it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import duckdb

COOKBOOK = Path(__file__).parent.parent / "docs" / "sql-cookbook.md"
SHOWN_ROWS = 10

_QUERY = re.compile(r"```sql\n(?P<sql>.*?)```\n(?:\n```\n(?P<answer>.*?)```\n)?", re.DOTALL)


def queries() -> list[str]:
    """Every query of the cookbook, in its order."""
    return [found["sql"] for found in _QUERY.finditer(COOKBOOK.read_text(encoding="utf-8"))]


def main() -> None:
    """Write the answers of a published database below the queries."""
    with duckdb.connect(sys.argv[1], read_only=True) as connection:

        def answered(found: re.Match[str]) -> str:
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
