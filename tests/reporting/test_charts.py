"""Charts show the tables' own numbers, in colours that have a counterpart on a dark ground."""

from __future__ import annotations

import json
import re

import polars as pl
import pytest

from cir_assets.reporting.charts import (
    DARK_OF,
    category_chart,
    ladder_chart,
    lambda_chart,
    one_modality_chart,
    published_chart,
    recall_chart,
    recall_curves,
    training_chart,
)
from cir_assets.reporting.curves import best_epoch
from cir_assets.reporting.inputs import ReportInputs
from cir_assets.reporting.ladder import HEADLINE, ladders
from cir_assets.reporting.one_modality import one_modality
from cir_assets.reporting.tables import arranged
from cir_assets.retrieval.methods import METHODS


def test_recall_curves_agree_with_the_table_of_metrics(inputs: ReportInputs) -> None:
    ladder = ladders(inputs.evaluations, inputs.metrics)[0]
    curves = recall_curves(ladder, inputs.rankings)
    assert list(curves) == list(METHODS)
    for method, values in curves.items():
        assert len(values) == 50
        assert values == sorted(values)
        for k in (10, 50):
            assert values[k - 1] == pytest.approx(ladder.figure(method, ("recall", k)).value)


def test_intervals_reach_from_their_lower_to_their_upper_end(inputs: ReportInputs) -> None:
    ladder = ladders(inputs.evaluations, inputs.metrics)[0]
    trace = ladder_chart(ladder)["data"][-1]
    assert trace["name"] == "Headline"
    for place, method in enumerate(ladder.methods):
        figure = ladder.figure(method, HEADLINE)
        assert trace["x"][place] + trace["error_x"]["array"][place] == pytest.approx(figure.high)
        assert trace["x"][place] - trace["error_x"]["arrayminus"][place] == pytest.approx(figure.low)


def test_the_kept_epoch_is_the_earliest_of_the_best() -> None:
    epochs = pl.DataFrame({"epoch": [1, 2, 3, 4], "selection_metric": [10.0, 30.0, float("nan"), 30.0]})
    assert best_epoch(epochs) == 2
    assert best_epoch(epochs.with_columns(selection_metric=pl.lit(None, pl.Float64))) is None


def test_every_lambda_is_counted_once_the_ends_too() -> None:
    found, missed = lambda_chart([0.0, 0.5, 1.0], [0.99])["data"]
    assert sum(found["y"]) == 3
    assert found["y"][0] == found["y"][-1] == 1
    assert missed["y"][-1] == 1


def test_every_colour_of_every_chart_has_a_dark_counterpart(inputs: ReportInputs) -> None:
    ladder = ladders(inputs.evaluations, inputs.metrics)[0]
    drawn = [
        ladder_chart(ladder),
        recall_chart(ladder, recall_curves(ladder, inputs.rankings)),
        one_modality_chart(one_modality(ladder, inputs.rankings)),
        category_chart(ladder, ("recall", 10)),
        lambda_chart([0.5], [0.4]),
        *(
            training_chart(stage, rows)
            for (stage,), rows in inputs.own_epochs.partition_by("stage", as_dict=True).items()
        ),
    ]
    used = set(re.findall(r"#[0-9a-fA-F]{6}", json.dumps(drawn)))
    assert used <= set(DARK_OF)
    assert {"#0f766e", "#7b818a"} <= used


def test_a_category_full_of_markup_is_text_in_a_chart(inputs: ReportInputs) -> None:
    hostile = inputs.metrics.with_columns(
        pl.col("category").str.replace("dress", "<a href='http://evil.example'>dress</a>")
    )
    chart = category_chart(ladders(inputs.evaluations, hostile)[0], ("recall", 10))
    assert "<a href" not in json.dumps(chart)


def test_ours_stands_among_the_published_by_backbone_with_its_interval() -> None:
    found = [
        ("Theirs", "CLIP B/32", "CVPR", "supervised", "recall", 10, 40.0, None, None),
        ("Other", "RN50x4", "ICCV", "zero-shot", "recall", 10, 20.0, None, None),
        ("Combiner (paper)", "RN50x4", "ours", "ours", "recall", 10, 38.0, 37.0, 39.5),
    ]
    chart = published_chart(arranged("fashioniq", found), [("recall", 10)])
    assert chart is not None
    ours = next(trace for trace in chart["data"] if trace["name"] == "ours")
    assert (ours["error_x"]["arrayminus"], ours["error_x"]["array"]) == ([1.0], [1.5])
    ticks = ["Combiner (paper) · RN50x4", "Other · RN50x4", "Theirs · CLIP B/32"]
    assert chart["layout"]["yaxis"]["ticktext"] == ticks
    for alone in (found[:2], found[2:]):
        assert published_chart(arranged("fashioniq", alone), [("recall", 10)]) is None
