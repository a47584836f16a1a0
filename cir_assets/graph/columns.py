"""Column schemas: what the UI shows of a table's columns."""

from __future__ import annotations

import dagster as dg

from cir_assets.store.promotions import COLUMNS as DECISIONS
from cir_assets.store.tables import COLUMNS


def columns_of(table: str) -> dg.TableSchema:
    """The columns of one of a data set's tables."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name, kind, description=meaning)
            for name, (kind, meaning) in COLUMNS[table].items()
        ]
    )


def columns_of_decisions() -> dg.TableSchema:
    """The columns of a pipeline's decisions about its champion."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name, kind.lower(), description=said) for name, (kind, said) in DECISIONS.items()
        ]
    )


FEATURES = dg.TableSchema(
    columns=[
        dg.TableColumn("image_key", "string", description="SHA-256 of the picture's bytes"),
        dg.TableColumn("preprocessing", "string", description="padding and resolution"),
        dg.TableColumn("backbone", "string", description="hash of the encoder's weights"),
        dg.TableColumn("feature", "float[d]", description="raw image feature, not normalised"),
    ]
)
"""Columns of the table ``image_features``."""

EPOCHS = dg.TableSchema(
    columns=[
        dg.TableColumn("stage", "string", description="text_encoder, combiner or combiner_frozen_clip"),
        dg.TableColumn("epoch", "int", description="from 1"),
        dg.TableColumn("step", "int", description="optimiser steps so far"),
        dg.TableColumn("loss", "float", description="mean training loss of the epoch"),
        dg.TableColumn("learning_rate", "float", description="of the epoch"),
        dg.TableColumn("selection_metric", "float", description="headline on val in percent"),
        dg.TableColumn("seconds", "float", description="the epoch took, validation included"),
    ]
)
"""Columns of ``epochs.parquet`` in a model's folder, and of the published table ``training_epochs``."""
