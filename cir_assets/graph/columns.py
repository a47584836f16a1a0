"""Column schemas: what the UI shows of a table's columns, as its contract has them."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
import polars as pl

from cir_assets.store import contracts

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
    """A table's columns."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(column.name, UI_TYPES[column.dtype], description=column.meaning)
            for column in table.columns
        ]
    )
