"""A data set's tables on disk: one Parquet file each, written beside and renamed, read by the steps below."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import polars as pl

from cir_assets.store import contracts
from cir_assets.store.files import written_whole

UI_TYPES: Mapping[pl.DataType, str] = {
    contracts.TEXT: "string",
    contracts.TEXTS: "list[string]",
    contracts.FLAG: "bool",
    contracts.SHORT: "int",
    contracts.LONG: "int",
    contracts.SINGLE: "float",
    contracts.DOUBLE: "float",
    contracts.MOMENT: "timestamp",
    contracts.FEATURE: "float[d]",
}
"""What the UI calls the contracts' types."""


def column_schema(table: contracts.Table) -> dg.TableSchema:
    """A table's columns as its contract has them, for the UI."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(column.name, UI_TYPES[column.dtype], description=column.meaning)
            for column in table.columns
        ]
    )


def write_table(frame: pl.DataFrame, folder: Path, name: str) -> Path:
    """Write ``<folder>/<name>.parquet`` whole or not at all."""
    destination = folder / f"{name}.parquet"
    with written_whole(destination) as beside:
        frame.write_parquet(beside)
    return destination


def read_table(folder: Path, name: str) -> pl.DataFrame:
    """Read ``<folder>/<name>.parquet``.

    Raises:
        dagster.Failure: when it was never written, naming the step that does.
    """
    source = folder / f"{name}.parquet"
    if not source.is_file():
        raise dg.Failure(f"{source} is not there: materialize {folder.name}/{name.split('/')[0]} first")
    return pl.read_parquet(source)
