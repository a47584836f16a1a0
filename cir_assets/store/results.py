"""One pipeline's results: evaluations with their metrics, rankings and retrieved pictures, and training curves."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import duckdb
import polars as pl

from cir_assets.store.contracts import RANKINGS, RESULTS, RETRIEVED, TRAINING_EPOCHS, Table, fitted
from cir_assets.store.database import opened

KEPT_EVALUATIONS = 5
"""Evaluations of a method, split and protocol whose rankings and retrieved pictures are kept; older ones keep
their metrics."""


def write_results(file: Path, frames: Mapping[str, pl.DataFrame]) -> None:
    """Add evaluations and curves to a pipeline's results file.

    What is there stays; rows of the same ``evaluation_id`` (of the same stage and version for curves) are
    replaced. The file is built beside and renamed, so readers see all of it or none.

    Args:
        file: ``storage/results/<dataset>/<backbone>/<recipe>.duckdb``.
        frames: table of ``RESULTS`` by name -> a frame with its columns.

    Raises:
        WrongFrame: when a frame lacks a column or has one of another type.
        DatabaseLocked: when another process holds the file.
    """
    with replaced(file, keep=True) as connection:
        create_tables(connection, RESULTS)
        for table in RESULTS:
            key = "stage, version" if table is TRAINING_EPOCHS else "evaluation_id"
            connection.register("fresh", fitted(frames[table.name], table).to_arrow())
            connection.execute(
                f"DELETE FROM {table.name} WHERE ({key}) IN (SELECT DISTINCT ({key}) FROM fresh)"
            )
            connection.execute(f"INSERT INTO {table.name} BY NAME SELECT * FROM fresh")
            connection.unregister("fresh")
        for kept in (RANKINGS, RETRIEVED):
            connection.execute(
                f"""DELETE FROM {kept.name} WHERE evaluation_id NOT IN (
                SELECT evaluation_id FROM evaluations QUALIFY row_number() OVER (
                PARTITION BY method, split, protocol ORDER BY created_at DESC, evaluation_id) <= {KEPT_EVALUATIONS})"""
            )


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


@contextmanager
def replaced(file: Path, *, keep: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database built beside ``file`` and renamed over it at the end; with ``keep`` it begins as a copy.

    When anything fails, the disk being full among it, ``file`` stays as it was.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.new")
    log = beside.with_name(f"{beside.name}.wal")
    for leftover in (beside, log):
        leftover.unlink(missing_ok=True)
    try:
        if keep and file.is_file():
            shutil.copyfile(file, beside)
        with opened(beside) as connection:
            yield connection
            connection.execute("CHECKPOINT")
        beside.replace(file)
    except (OSError, duckdb.Error) as error:
        if "space" in str(error).lower() or "too large" in str(error).lower():
            raise OSError(
                f"no space left to write {file}; it is unchanged. Free space on that disk and run this step again"
            ) from error
        raise
    finally:
        for leftover in (beside, log):
            leftover.unlink(missing_ok=True)


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
