"""Of what a report is given, its own pipeline's newest counts, and a frame that lacks a column is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from cir_assets.reporting.inputs import ReportInputs


def test_rows_of_another_pipeline_are_left_out(inputs: ReportInputs) -> None:
    other = inputs.evaluations.with_columns(recipe=pl.lit("other"))
    both = replace(inputs, evaluations=pl.concat([inputs.evaluations, other]))
    assert both.own_evaluations.equals(inputs.own_evaluations)
    assert both.own_evaluations.height == inputs.evaluations.height


@pytest.mark.parametrize("table", ["evaluations", "metrics", "rankings", "retrieved", "training_epochs"])
def test_a_table_without_a_column_is_refused_with_what_it_needs(inputs: ReportInputs, table: str) -> None:
    frame: pl.DataFrame = getattr(inputs, table)
    column = "stage" if table == "training_epochs" else "evaluation_id"
    changed: dict[str, Any] = {table: frame.drop(column)}
    with pytest.raises(ValueError, match=f"table '{table}' lacks {column}; it needs .*{column}"):
        replace(inputs, **changed)
