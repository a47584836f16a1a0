"""Which queries are shown in pictures is decided by rank, then margin, the same way every time."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cir_assets.reporting.inputs import ReportInputs
from cir_assets.reporting.ladder import ladders
from cir_assets.reporting.sheets import choose_sheets, chosen_places, queries_in_order, text_weights

COMBINER = "val-fashioniq-combiner"


@given(queries=st.integers(0, 200), each=st.integers(1, 30))
def test_no_query_is_shown_twice_and_none_is_invented(queries: int, each: int) -> None:
    places = chosen_places(queries, each)
    shown = [place for band in places.values() for place in band]
    assert len(set(shown)) == len(shown)
    assert all(0 <= place < queries for place in shown)
    assert bool(shown) == bool(queries)
    if queries >= 3 * each:
        assert [len(band) for band in places.values()] == [each] * 3
        assert places["best"][0] == 0
        assert places["worst"][-1] == queries - 1


def test_the_order_is_by_rank_then_margin_then_id(inputs: ReportInputs) -> None:
    ordered = queries_in_order(inputs, COMBINER)
    keys = [
        (row["target_rank"], -row["margin"], row["query_id"])
        for row in ordered.select("target_rank", "margin", "query_id").iter_rows(named=True)
    ]
    assert keys == sorted(keys)
    again = replace(
        inputs,
        rankings=inputs.rankings.sample(fraction=1, shuffle=True, seed=1),
        retrieved=inputs.retrieved.sample(fraction=1, shuffle=True, seed=2),
    )
    assert queries_in_order(again, COMBINER)["query_id"].equals(ordered["query_id"])


def test_the_margin_is_the_target_s_lead_over_its_strongest_rival(inputs: ReportInputs) -> None:
    ordered = queries_in_order(inputs, COMBINER)
    first, last = ordered.row(0, named=True), ordered.row(-1, named=True)
    for row, rival_rank in ((first, 2), (last, 1)):
        rival = inputs.retrieved.filter(
            (pl.col("evaluation_id") == COMBINER)
            & (pl.col("query_id") == row["query_id"])
            & (pl.col("rank") == rival_rank)
        )["score"][0]
        assert row["margin"] == pytest.approx(row["target_score"] - rival, abs=1e-6)
    assert first["target_rank"] == 1
    assert first["margin"] > 0 > last["margin"]


def test_a_sheet_shows_the_combiner_and_what_came_before_each_stage(inputs: ReportInputs) -> None:
    sheets = choose_sheets(inputs, ladders(inputs.evaluations, inputs.metrics)[0], each=4)
    assert [sheet.band for sheet in sheets] == ["best"] * 4 + ["median"] * 4 + ["worst"] * 4
    worst = [sheet.target_rank for sheet in sheets if sheet.band == "worst"]
    assert worst == sorted(worst, reverse=True)
    for sheet in sheets:
        assert list(sheet.results) == ["combiner", "sum", "text_encoder_sum"]
        assert [result.rank for result in sheet.results["combiner"]] == list(range(1, 11))
        assert sheet.ranks["combiner"] == sheet.target_rank
        found = [result.rank for result in sheet.results["combiner"] if result.image == sheet.target]
        assert found == ([sheet.target_rank] if sheet.target_rank <= 10 else [])


def test_lambdas_are_those_kept_with_the_rankings(inputs: ReportInputs) -> None:
    rankings = inputs.rankings.filter(pl.col("evaluation_id") == COMBINER)
    assert len(text_weights(rankings)) == rankings.height
    assert text_weights(rankings.drop("text_weight")) == {}


def test_ranks_that_begin_at_0_are_refused(inputs: ReportInputs) -> None:
    with pytest.raises(ValueError, match="begin at 1, got 0"):
        replace(inputs, rankings=inputs.rankings.with_columns(pl.col("target_rank") - 1))


def test_a_table_without_a_column_is_refused_by_name(inputs: ReportInputs) -> None:
    with pytest.raises(ValueError, match=r"'metrics' lacks ci_low"):
        replace(inputs, metrics=inputs.metrics.drop("ci_low"))


def test_another_pipeline_s_rows_are_left_out_and_a_stage_s_last_version_counts(inputs: ReportInputs) -> None:
    other = inputs.evaluations.with_columns(pl.lit("other").alias("recipe"))
    newer = inputs.training_epochs.head(3).with_columns(pl.lit("v2").alias("version"))
    mixed = replace(
        inputs,
        evaluations=pl.concat([other, inputs.evaluations]),
        training_epochs=pl.concat([inputs.training_epochs, newer]),
    )
    assert mixed.own_evaluations.equals(inputs.evaluations)
    stage = mixed.own_epochs.filter(pl.col("stage") == "text_encoder")
    assert stage["version"].to_list() == ["v2"] * 3


@pytest.mark.parametrize(
    ("there", "shown"),
    [
        (
            ["sum", "text_encoder_sum", "combiner_frozen_clip", "combiner"],
            ["combiner", "sum", "text_encoder_sum"],
        ),
        (["image_only", "sum", "text_encoder_sum", "combiner_frozen_clip"], ["text_encoder_sum", "sum"]),
        (["combiner_frozen_clip", "sum"], ["combiner_frozen_clip", "sum"]),
        (["sum", "text_only"], ["sum"]),
        (["text_only"], None),
    ],
)
def test_a_pipeline_is_shown_by_the_method_it_serves(
    inputs: ReportInputs, there: list[str], shown: list[str] | None
) -> None:
    evaluations = inputs.evaluations.filter(pl.col("method").is_in(there))
    ladder = ladders(evaluations, inputs.metrics)[0]
    sheets = choose_sheets(inputs, ladder)
    assert bool(sheets) == bool(shown)
    for sheet in sheets:
        assert list(sheet.results) == shown
        assert sheet.found == sheet.results[shown[0]]
        assert sheet.target_rank == sheet.ranks[shown[0]]
        assert (sheet.text_weight is not None) == shown[0].startswith("combiner")
