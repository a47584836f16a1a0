"""A data set's tables on disk: one Parquet file each, written beside and renamed, read by the steps below."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cir_assets.store.contracts import Table, checked
from cir_assets.store.files import write_whole
from cir_assets.store.made import NotMade


def write_table(frame: pl.DataFrame, folder: Path, table: Table, *, of: str | None = None) -> Path:
    """Write ``<folder>/<table>.parquet``, or the part ``of`` a step ``<folder>/<table>/<of>.parquet``, whole or not.

    Raises:
        WrongFrame: when the frame is not as the table's contract says.
    """
    destination = table_file(folder, table, of=of)
    with write_whole(destination) as beside:
        checked(frame, table).write_parquet(beside)
    return destination


def read_table(folder: Path, table: Table) -> pl.DataFrame:
    """Read ``<folder>/<table>.parquet``.

    Raises:
        NotMade: when it was never written, naming the step that does.
    """
    source = table_file(folder, table)
    if not source.is_file():
        raise NotMade(f"{source} is not there: materialize {folder.name}/{table.name} first")
    return pl.read_parquet(source)


def table_file(folder: Path, table: Table, *, of: str | None = None) -> Path:
    """Where a table lies, or the part of it that one step writes."""
    return folder / f"{table.name}.parquet" if of is None else folder / table.name / f"{of}.parquet"
