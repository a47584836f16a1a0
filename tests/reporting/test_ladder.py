"""The ladder keeps its order, shows the newest evaluation of each method, and never mixes pipelines."""

from __future__ import annotations

import io

import polars as pl
import pytest
from rich.console import Console

from cir_assets.reporting.inputs import ReportInputs
from cir_assets.reporting.ladder import (
    HEADLINE,
    Figure,
    ladder_markdown,
    ladder_table,
    ladders,
    metric_label,
)
from cir_assets.retrieval.methods import METHODS


def on_a_terminal(inputs: ReportInputs, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(ladder_table(inputs.evaluations, inputs.metrics))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_val_stands_before_test_and_the_methods_in_the_ladder_s_order(inputs: ReportInputs) -> None:
    shuffled = inputs.evaluations.reverse()
    found = ladders(shuffled, inputs.metrics)
    assert [ladder.split for ladder in found] == ["val", "test"]
    assert all(ladder.methods == tuple(METHODS) for ladder in found)
    assert found[0].metrics == (("recall", 10), ("recall", 50), HEADLINE)
    assert found[0].categories == ("dress", "shirt", "toptee")


def test_of_two_evaluations_of_a_method_the_newer_counts(inputs: ReportInputs) -> None:
    one = inputs.evaluations.filter(pl.col("evaluation_id") == "val-fashioniq-combiner")
    later = one.with_columns(
        pl.lit("later").alias("evaluation_id"), pl.col("created_at").dt.offset_by("1d").alias("created_at")
    )
    figures = inputs.metrics.filter(pl.col("evaluation_id") == "val-fashioniq-combiner").with_columns(
        pl.lit("later").alias("evaluation_id"), pl.lit(12.5).alias("value")
    )
    # The newer stands first, so that its place does not decide.
    found = ladders(pl.concat([later, inputs.evaluations]), pl.concat([figures, inputs.metrics]))
    assert found[0].figure("combiner", HEADLINE).value == 12.5


def test_evaluations_of_two_pipelines_are_refused(inputs: ReportInputs) -> None:
    other = inputs.evaluations.with_columns(pl.lit("vit_b_32").alias("backbone"))
    with pytest.raises(ValueError, match=r"of one pipeline.*wardrobe/tiny_clip/default"):
        ladders(pl.concat([inputs.evaluations, other]), inputs.metrics)


def test_the_table_fits_a_terminal_of_80_columns_with_every_interval_whole(inputs: ReportInputs) -> None:
    shown = on_a_terminal(inputs)
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.index("val") < shown.index("test ")
    ladder = ladders(inputs.evaluations, inputs.metrics)[0]
    for method in METHODS:
        assert ladder.figure(method, HEADLINE).text() in shown


def test_a_table_of_no_evaluation_is_refused(inputs: ReportInputs) -> None:
    with pytest.raises(ValueError, match="no evaluation to show"):
        ladder_table(inputs.evaluations.clear(), inputs.metrics.clear())


def test_names_full_of_markup_stay_text_in_markdown_and_on_a_terminal(inputs: ReportInputs) -> None:
    evaluations = inputs.evaluations.with_columns(
        pl.lit("a|b<script>").alias("protocol"), pl.lit("[red]shop[/red]").alias("dataset")
    )
    assert "a\\|b\\<script\\>" in ladder_markdown(evaluations, inputs.metrics)
    console = Console(width=100, file=io.StringIO())
    console.print(ladder_table(evaluations, inputs.metrics))
    assert isinstance(console.file, io.StringIO)
    assert "[red]shop[/red]" in console.file.getvalue()


def test_what_is_no_number_is_a_dash(inputs: ReportInputs) -> None:
    metrics = inputs.metrics.with_columns(pl.lit(float("nan")).alias("value"))
    assert ladders(inputs.evaluations, metrics)[0].figure("sum", HEADLINE).text() == "–"
    assert Figure(51.25, None, None).text() == "51.2"
    assert "nan" not in ladder_markdown(inputs.evaluations, metrics)


def test_no_evaluation_is_said_so() -> None:
    columns = ("evaluation_id", "dataset", "backbone", "recipe", "split", "protocol", "created_at")
    empty = pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    assert ladder_markdown(empty, pl.DataFrame()) == "There is no evaluation yet."


def test_metrics_are_called_as_in_the_literature() -> None:
    assert [metric_label(key) for key in (("recall", 10), ("subset_recall", 1), HEADLINE)] == [
        "R@10",
        "Rs@1",
        "Headline",
    ]
