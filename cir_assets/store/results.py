"""One pipeline's results: evaluations with their metrics, rankings and retrieved pictures, and training curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from cir_assets.store.contracts import RANKINGS, RESULTS, RETRIEVED, TRAINING_EPOCHS, fitted
from cir_assets.store.database import DamagedDatabase, replace_database
from cir_assets.store.declaring import create_tables

KEPT_EVALUATIONS = 5
"""Evaluations of a method, split and protocol whose rankings and retrieved pictures are kept; older ones keep
their metrics."""


def write_results(file: Path, frames: Mapping[str, pl.DataFrame]) -> None:
    """Add evaluations and curves to a pipeline's results file.

    What is there stays; rows of the same ``evaluation_id`` (of the same stage and version for curves) are
    replaced. The file is built beside and renamed, so readers see all of it or none. A damaged file is set aside as
    ``<recipe>.duckdb.damaged`` and begun anew.

    Args:
        file: ``storage/results/<dataset>/<backbone>/<recipe>.duckdb``.
        frames: table of ``RESULTS`` by name -> a frame with its columns.

    Raises:
        WrongFrame: when a frame lacks a column or has one of another type.
        DatabaseLocked: when another process holds the file.
    """
    try:
        _add_to_results(file, frames)
    except DamagedDatabase:
        # What an older evaluation left there is lost to queries, and kept for whoever wants to look.
        file.replace(file.with_name(f"{file.name}.damaged"))
        _add_to_results(file, frames)


def _add_to_results(file: Path, frames: Mapping[str, pl.DataFrame]) -> None:
    with replace_database(file, keep=True) as connection:
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
