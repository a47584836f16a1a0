"""What a report says first: plain words for what was measured, and that small samples say nothing."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from cir_assets.reporting.inputs import ReportInputs
from cir_assets.reporting.ladder import CHANCE, Ladder, ladder_markdown, ladders
from cir_assets.reporting.report import page
from cir_assets.reporting.story import cards, sentence


def first_ladder(inputs: ReportInputs) -> Ladder:
    return ladders(inputs.evaluations, inputs.metrics)[0]


def small(inputs: ReportInputs) -> ReportInputs:
    """The same of six queries over galleries no larger than k, where every ranking finds every target."""
    return replace(
        inputs,
        evaluations=inputs.evaluations.with_columns(queries=pl.lit(6, pl.Int32)),
        metrics=inputs.metrics.with_columns(value=pl.lit(100.0), ci_low=pl.lit(61.0), chance=pl.lit(100.0)),
    )


def test_a_gallery_no_larger_than_k_says_nothing_in_words_and_in_grey(inputs: ReportInputs) -> None:
    given = small(inputs)
    ladder = first_ladder(given)
    assert sentence(ladder) == (
        "The galleries on val hold no more pictures than are looked at, so that any ranking finds the picture meant: "
        "these figures say nothing."
    )
    [headline, *_] = cards(given, [ladder], None)
    assert headline["doubt"] == "6 queries, says nothing, k ≥ gallery: says nothing"
    assert "95 % interval 61.0 to" in headline["note"]
    text = page(given)
    assert '<li class="nothing"><span class="card-name">Combiner, headline on val</span>' in text
    assert "No method's interval lies above chance, which is 100.0 % here" in text.replace("&#39;", "'")


def test_chance_stands_in_the_ladder_and_where_nothing_is_above_it_that_is_said(inputs: ReportInputs) -> None:
    ladder = first_ladder(inputs)
    assert ladder.chance(("recall", 10)) == pytest.approx(100 * 10 / 60)
    assert ladder.nothing_learnt is None
    told = ladder_markdown(inputs.evaluations, inputs.metrics)
    assert f"| {CHANCE} | 16.7 | 83.3 | 50.0 |" in told
    low = inputs.metrics.with_columns(ci_low=pl.col("chance") - 1)
    assert "nothing shows that anything was learnt. Try more queries" in ladder_markdown(
        inputs.evaluations, low
    )


def test_figures_taken_before_chance_was_known_are_shown_as_they_are(inputs: ReportInputs) -> None:
    before = first_ladder(replace(inputs, metrics=inputs.metrics.drop("chance", "gallery_size")))
    assert before.chance(("recall", 10)) is None
    assert before.nothing_learnt is None
    assert (sentence(before) or "").startswith("In 100 of 100 searches")
