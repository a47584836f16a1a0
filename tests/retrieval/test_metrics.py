"""Figures in percent from ranks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cir_assets.retrieval.metrics import (
    average_precision,
    category_means,
    headline,
    headline_values,
    metric_name,
    per_query_values,
    selection_mean,
    whole_average_precision,
)
from cir_assets.retrieval.protocols import PROTOCOLS

CIRR_FIGURES = dict(zip(PROTOCOLS["cirr"].metrics, [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0], strict=True))


@given(st.lists(st.integers(0, 60), min_size=1))
def test_recall_at_k_is_the_share_of_targets_among_the_first_k(ranks: list[int]) -> None:
    values = per_query_values("fashioniq", np.array(ranks))
    for column, k in enumerate((10, 50)):
        assert values[:, column].mean() == pytest.approx(sum(rank < k for rank in ranks) / len(ranks))


def precision_by_hand(predictions: list[int], true: set[int], k: int) -> float:
    """Walk down the list as CIRCO defines it."""
    found, total = 0, 0.0
    for place, image in enumerate(predictions[:k], start=1):
        if image in true:
            found += 1
            total += found / place
    return total / min(len(true), k)


@given(st.data(), st.integers(1, 30))
def test_average_precision_equals_a_walk_down_the_list(data: st.DataObject, k: int) -> None:
    predictions = data.draw(st.permutations(range(40)))
    true = data.draw(st.lists(st.integers(0, 39), min_size=1, max_size=14, unique=True))
    further = np.array([[*true[1:], -1, -1]])
    found = average_precision(np.array([predictions]), np.array(true[:1]), further, k)
    assert found[0] == pytest.approx(precision_by_hand(predictions, set(true), k))


def test_average_precision_on_circos_own_example_submission(real_data: Path) -> None:
    annotations = json.loads((real_data / "circo/annotations/val.json").read_text("utf-8"))
    example = json.loads((real_data / "circo/submission_examples/submission_val.json").read_text("utf-8"))
    longest = max(len(query["gt_img_ids"]) for query in annotations)
    retrieved = np.array([example[str(query["id"])] for query in annotations])
    true = np.array([(query["gt_img_ids"] + [-1] * longest)[:longest] for query in annotations])
    for k in (5, 10, 25, 50):
        found = average_precision(retrieved, true[:, 0], true[:, 1:], k)
        by_hand = [
            precision_by_hand(example[str(query["id"])], set(query["gt_img_ids"]), k) for query in annotations
        ]
        np.testing.assert_allclose(found, by_hand, atol=1e-12)
        assert 0 < found.mean() < 1


@given(st.data())
def test_average_precision_over_a_whole_ranking_is_the_area_by_the_trapezoid_rule(
    data: st.DataObject,
) -> None:
    ranking = data.draw(st.permutations(range(12)))
    true = data.draw(st.lists(st.integers(0, 11), min_size=1, max_size=5, unique=True))
    found = whole_average_precision(np.array([ranking]), np.array(true[:1]), np.array([[*true[1:], -1]]))
    places = sorted(ranking.index(each) for each in true)
    area = sum(
        ((before / place if place else 1.0) + (before + 1) / (place + 1)) / 2 / len(true)
        for before, place in enumerate(places)
    )
    assert found[0] == pytest.approx(area)


def test_missing_candidates_are_no_hits_and_one_target_alone_is_its_reciprocal_rank() -> None:
    retrieved = np.array([[4, 7, -1, -1]])
    assert average_precision(retrieved, np.array([7]), None, 10).tolist() == [0.5]
    assert average_precision(retrieved, np.array([9]), np.array([[-1]]), 10).tolist() == [0.0]


def test_categories_weigh_the_same_whatever_their_size() -> None:
    values = np.array([[1.0], [0.0], [0.0], [0.0], [1.0]])
    means = category_means(values, ["shirt"] * 4 + ["dress"])
    assert {name: float(row[0]) for name, row in means.items()} == {
        "shirt": 25.0,
        "dress": 100.0,
        "mean": 62.5,
    }
    assert list(means) == ["shirt", "dress", "mean"]


def test_the_headline_of_cirr_is_half_of_recall_5_and_subset_recall_1() -> None:
    assert headline("cirr", CIRR_FIGURES) == (20.0 + 50.0) / 2
    values = np.zeros((1, 7))
    values[0, 1] = 1.0
    assert headline_values("cirr", values).tolist() == [0.5]


def test_harmonic_and_geometric_means_with_a_zero_are_zero() -> None:
    with_zero = CIRR_FIGURES | {("recall", 1): 0.0}
    assert selection_mean("cirr", with_zero, "harmonic") == 0.0
    assert selection_mean("cirr", with_zero, "geometric") == 0.0
    assert selection_mean("cirr", with_zero, "arithmetic") == pytest.approx(270 / 7)
    assert selection_mean("cirr", CIRR_FIGURES, "harmonic") == pytest.approx(
        7 / sum(1 / x for x in range(10, 80, 10))
    )
    assert selection_mean("cirr", CIRR_FIGURES, "geometric") == pytest.approx(5040 ** (1 / 7) * 10)
    assert selection_mean("cirr", CIRR_FIGURES) == 35.0
    with pytest.raises(ValueError, match="no mean 'median'"):
        selection_mean("cirr", CIRR_FIGURES, "median")  # type: ignore[arg-type]


def test_a_metric_whose_ranks_are_not_given_is_refused() -> None:
    with pytest.raises(ValueError, match="measures subset_recall@1"):
        per_query_values("cirr", np.array([0]))
    with pytest.raises(ValueError, match="measures mean_average_precision@5"):
        per_query_values("circo", np.array([0]))


def test_metrics_are_named_as_people_write_them() -> None:
    assert metric_name(("recall", 10)) == "recall@10"
    assert metric_name(("headline", 0)) == "headline"
