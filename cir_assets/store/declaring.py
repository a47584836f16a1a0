"""Declaring tables in a DuckDB database as their contracts say: columns, types, and what each means as a comment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import duckdb

from cir_assets.store.contracts import Table


def create_tables(connection: duckdb.DuckDBPyConnection, tables: Iterable[Table]) -> None:
    """Create tables and columns that are not there yet, with a comment on each table and column."""
    for table in tables:
        listed = ", ".join(f'"{column.name}" {column.sql_type}' for column in table.columns)
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table.name} ({listed})")
        for column in table.columns:
            connection.execute(
                f'ALTER TABLE {table.name} ADD COLUMN IF NOT EXISTS "{column.name}" {column.sql_type}'
            )
        explain(connection, "TABLE", table)


def explain(connection: duckdb.DuckDBPyConnection, kind: Literal["TABLE", "VIEW"], table: Table) -> None:
    """Write the meanings of a table or view and of its columns into the database, as comments."""
    connection.execute(f"COMMENT ON {kind} {table.name} IS {quoted(table.meaning)}")
    for column in table.columns:
        connection.execute(f'COMMENT ON COLUMN {table.name}."{column.name}" IS {quoted(column.meaning)}')


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
