"""One pipeline's results: evaluations with their metrics, rankings and retrieved pictures, and training curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb
import polars as pl

from cir_assets.store.database import DamagedDatabase, replaced

KEPT_EVALUATIONS = 5
"""Evaluations of a method, split and protocol whose rankings and retrieved pictures are kept; older ones keep
their metrics."""

TABLES: Mapping[str, tuple[str, Mapping[str, tuple[str, str]]]] = {
    "evaluations": (
        "One row an evaluation: a method of a pipeline on a split under a protocol.",
        {
            "evaluation_id": ("VARCHAR", "digest of everything the evaluation was made from"),
            "dataset": ("VARCHAR", "data set evaluated on"),
            "backbone": ("VARCHAR", "dual encoder the features come from"),
            "recipe": ("VARCHAR", "name of the hyper-parameters, or of where the models come from"),
            "models_from": (
                "VARCHAR",
                "data set, backbone and recipe the models were trained under, or 'published checkpoints'",
            ),
            "method": (
                "VARCHAR",
                "image_only, text_only, sum, text_encoder_sum, combiner_frozen_clip or combiner",
            ),
            "split": ("VARCHAR", "val (which also chose the epoch) or test"),
            "protocol": ("VARCHAR", "how the gallery is made up and which figures are taken"),
            "queries": ("INTEGER", "queries ranked"),
            "gallery_size": ("INTEGER", "pictures actually ranked, all categories together"),
            "created_at": ("TIMESTAMP", "when, UTC"),
            "run_id": ("VARCHAR", "Dagster run that made it"),
            "data_version": ("VARCHAR", "fingerprint of the evaluation's inputs"),
            "seconds": ("DOUBLE", "the evaluation took"),
        },
    ),
    "metrics": (
        "One row an evaluation, category and metric, in percent.",
        {
            "evaluation_id": ("VARCHAR", "see evaluations"),
            "category": ("VARCHAR", "a category, or 'mean': the plain mean over categories"),
            "metric": ("VARCHAR", "recall, subset_recall, mean_average_precision or headline"),
            "k": ("INTEGER", "cut-off; 0 for the headline"),
            "value": ("DOUBLE", "percent"),
            "ci_low": ("DOUBLE", "lower end of the 95 % bootstrap interval over queries"),
            "ci_high": ("DOUBLE", "upper end of it"),
            "queries": ("INTEGER", "queries the figure is over"),
            "gallery_size": ("INTEGER", "pictures actually ranked; of the mean, all categories together"),
        },
    ),
    "left_out": (
        "One row an evaluation, category and reason: what could not take part.",
        {
            "evaluation_id": ("VARCHAR", "see evaluations"),
            "category": ("VARCHAR", "category searched in"),
            "reason": (
                "VARCHAR",
                "gallery_picture_without_feature, reference_without_feature, target_without_feature, no_target, …",
            ),
            "count": ("INTEGER", "pictures or queries, as the reason says"),
        },
    ),
    "rankings": (
        "One row an evaluation and query: where its target came out.",
        {
            "evaluation_id": ("VARCHAR", "see evaluations"),
            "query_id": ("VARCHAR", "see triplets.triplet_id"),
            "category": ("VARCHAR", "category searched in"),
            "reference": ("VARCHAR", "the picture shown"),
            "caption": ("VARCHAR", "the relative caption as the model read it"),
            "target": ("VARCHAR", "the picture meant"),
            "target_rank": ("INTEGER", "1 is best; recall at k counts target_rank <= k"),
            "target_score": ("FLOAT", "cosine of query and target"),
            "subset_rank": ("INTEGER", "rank among the query's set of look-alikes; null where there is none"),
            "text_weight": (
                "FLOAT",
                "the Combiner's lambda: weight of the text, 1 - lambda is the picture's; null for other methods",
            ),
        },
    ),
    "retrieved": (
        "One row an evaluation, query and rank: the 50 best pictures.",
        {
            "evaluation_id": ("VARCHAR", "see evaluations"),
            "query_id": ("VARCHAR", "see triplets.triplet_id"),
            "rank": ("INTEGER", "1 is best"),
            "image": ("VARCHAR", "see images.image"),
            "score": ("FLOAT", "cosine of query and picture"),
        },
    ),
    "training_epochs": (
        "One row an epoch of a training.",
        {
            "dataset": ("VARCHAR", "data set trained on"),
            "backbone": ("VARCHAR", "dual encoder the features come from"),
            "recipe": ("VARCHAR", "hyper-parameters"),
            "stage": ("VARCHAR", "text_encoder, combiner or combiner_frozen_clip"),
            "version": ("VARCHAR", "version of the model, the name of its folder"),
            "epoch": ("INTEGER", "from 1"),
            "step": ("INTEGER", "optimiser steps so far"),
            "loss": ("DOUBLE", "mean training loss of the epoch"),
            "learning_rate": ("DOUBLE", "of the epoch"),
            "selection_metric": ("DOUBLE", "headline on val in percent"),
            "seconds": ("DOUBLE", "the epoch took, validation included"),
        },
    ),
}
"""Table -> what a row is, and column -> (type, meaning): the contract, also written into the database as comments."""


def write_results(file: Path, frames: Mapping[str, pl.DataFrame]) -> None:
    """Add evaluations and curves to a pipeline's results file.

    What is there stays; rows of the same ``evaluation_id`` (of the same stage and version for curves) are
    replaced. The file is built beside and renamed, so readers see all of it or none. A damaged file is set aside as
    ``<recipe>.duckdb.damaged`` and begun anew.

    Args:
        file: ``storage/results/<dataset>/<backbone>/<recipe>.duckdb``.
        frames: a frame for each name of ``TABLES``, with exactly its columns.

    Raises:
        ValueError: when a frame lacks a column.
        DatabaseLocked: when another process holds the file.
    """
    try:
        _add_to_results(file, frames)
    except DamagedDatabase:
        # What an older evaluation left there is lost to queries, and kept for whoever wants to look.
        file.replace(file.with_name(f"{file.name}.damaged"))
        _add_to_results(file, frames)


def _add_to_results(file: Path, frames: Mapping[str, pl.DataFrame]) -> None:
    with replaced(file, keep=True) as connection:
        create_tables(connection, TABLES)
        for table, (_, columns) in TABLES.items():
            fresh = frames[table]
            missing = [name for name in columns if name not in fresh.columns]
            if missing:
                raise ValueError(f"the frame for {table} lacks the columns {', '.join(missing)}")
            key = "stage, version" if table == "training_epochs" else "evaluation_id"
            connection.register("fresh", fresh.select(list(columns)).to_arrow())
            connection.execute(f"DELETE FROM {table} WHERE ({key}) IN (SELECT DISTINCT ({key}) FROM fresh)")
            connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM fresh")
            connection.unregister("fresh")
        for table in ("rankings", "retrieved"):
            connection.execute(
                f"""DELETE FROM {table} WHERE evaluation_id NOT IN (
                SELECT evaluation_id FROM evaluations QUALIFY row_number() OVER (
                PARTITION BY method, split, protocol ORDER BY created_at DESC, evaluation_id) <= {KEPT_EVALUATIONS})"""
            )


def create_tables(
    connection: duckdb.DuckDBPyConnection, tables: Mapping[str, tuple[str, Mapping[str, tuple[str, str]]]]
) -> None:
    """Create tables and columns that are not there yet, with a comment on each table and column."""
    for table, (meaning, columns) in tables.items():
        listed = ", ".join(f'"{name}" {kind}' for name, (kind, _) in columns.items())
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({listed})")
        connection.execute(f"COMMENT ON TABLE {table} IS {quoted(meaning)}")
        for name, (kind, said) in columns.items():
            connection.execute(f'ALTER TABLE {table} ADD COLUMN IF NOT EXISTS "{name}" {kind}')
            connection.execute(f'COMMENT ON COLUMN {table}."{name}" IS {quoted(said)}')


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
