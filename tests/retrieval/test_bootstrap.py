"""Intervals by drawing patterns agree with intervals by drawing queries."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cir_assets.retrieval.bootstrap import (
    confidence_intervals,
    paired_difference,
    resampled_means,
    wilson_interval,
)
from cir_assets.retrieval.metrics import Values


def nested_hits(generator: np.random.Generator, count: int) -> Values:
    """Hits at two cut-offs: the second wherever the first, and some more."""
    draws = generator.random(count)
    return np.stack([draws < 0.3, draws < 0.55], axis=1).astype(np.float64)


def drawn_one_by_one(values: Values, categories: list[str], resamples: int, seed: int) -> Values:
    """Resample queries by their index, category by category; means over categories (R, M) in percent."""
    generator = np.random.default_rng(seed)
    labels = np.asarray(categories)
    means = []
    for category in dict.fromkeys(categories):
        rows = values[labels == category]
        picks = generator.integers(0, len(rows), (resamples, len(rows)))
        means.append(100 * rows[picks].mean(axis=1))
    over_categories: Values = np.mean(means, axis=0)
    return over_categories


@pytest.fixture
def queries() -> tuple[Values, list[str]]:
    generator = np.random.default_rng(1)
    values = np.concatenate([nested_hits(generator, 150), nested_hits(generator, 90)])
    return values, ["dress"] * 150 + ["shirt"] * 90


def test_intervals_agree_with_drawing_the_queries_one_by_one(queries: tuple[Values, list[str]]) -> None:
    values, categories = queries
    brute = drawn_one_by_one(values, categories, 6000, seed=2)
    found = resampled_means(values, categories, resamples=6000, seed=3)["mean"]
    np.testing.assert_allclose(found.mean(axis=0), brute.mean(axis=0), atol=0.2)
    np.testing.assert_allclose(np.cov(found.T), np.cov(brute.T), rtol=0.1)
    ends = confidence_intervals(values, categories, resamples=6000, seed=3)["mean"]
    np.testing.assert_allclose(ends, np.quantile(brute, [0.025, 0.975], axis=0).T, atol=0.5)


def test_the_spread_of_resampled_means_is_that_of_the_binomial(queries: tuple[Values, list[str]]) -> None:
    values, categories = queries
    drawn = resampled_means(values, categories, resamples=20_000, seed=0)["dress"]
    share = values[:150].mean(axis=0)
    np.testing.assert_allclose(drawn.std(axis=0), 100 * np.sqrt(share * (1 - share) / 150), rtol=0.03)


def test_values_of_every_querys_own_agree_with_drawing_the_queries_one_by_one() -> None:
    generator = np.random.default_rng(4)
    values = np.concatenate([generator.random((150, 2)), generator.random((90, 2)) ** 3])
    categories = ["dress"] * 150 + ["shirt"] * 90
    brute = drawn_one_by_one(values, categories, 6000, seed=2)
    found = resampled_means(values, categories, resamples=6000, seed=3)["mean"]
    np.testing.assert_allclose(found.mean(axis=0), brute.mean(axis=0), atol=0.2)
    np.testing.assert_allclose(np.cov(found.T), np.cov(brute.T), rtol=0.1, atol=0.05)
    shuffled = np.concatenate([values[:150][::-1], values[150:]])
    again = resampled_means(shuffled, categories, resamples=20, seed=3)["mean"]
    np.testing.assert_array_equal(again, resampled_means(values, categories, resamples=20, seed=3)["mean"])


def test_10_000_resamples_of_6_000_queries_take_moments() -> None:
    """Hits take hundredths of a second and average precision 0.7 s; the bounds are for slower cores."""
    generator = np.random.default_rng(6)
    categories = ["dress", "shirt", "toptee"] * 2_000
    for first, second, seconds in (
        (nested_hits(generator, 6_000)[:, 0], nested_hits(generator, 6_000)[:, 0], 1.0),
        (generator.random(6_000), generator.random(6_000), 3.0),
    ):
        started = time.process_time()
        found = paired_difference(first, second, categories)
        assert time.process_time() - started < seconds
        assert found.low < found.value < found.high


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_resampled_figures_are_possible_figures_and_nested_hits_stay_nested(
    seed: int, count: int, categories: int
) -> None:
    values = nested_hits(np.random.default_rng(seed), count * categories)
    names = [name for name in "abc"[:categories] for _ in range(count)]
    for category, drawn in resampled_means(values, names, resamples=50, seed=seed).items():
        assert drawn.shape == (50, 2)
        assert (drawn >= -1e-9).all()
        assert (drawn <= 100 + 1e-9).all()
        assert (drawn[:, 0] <= drawn[:, 1] + 1e-9).all()
        if category != "mean":
            np.testing.assert_allclose(drawn * count / 100, np.round(drawn * count / 100), atol=1e-6)


def test_the_same_seed_gives_the_same_interval_and_order_of_queries_is_of_no_matter(
    queries: tuple[Values, list[str]],
) -> None:
    values, categories = queries
    first = confidence_intervals(values, categories, resamples=500, seed=5)
    shuffled = np.concatenate([values[:150][::-1], values[150:]])
    again = confidence_intervals(shuffled, categories, resamples=500, seed=5)
    other = confidence_intervals(values, categories, resamples=500, seed=6)
    assert {name: ends.tolist() for name, ends in first.items()} == {n: e.tolist() for n, e in again.items()}
    assert first["dress"].tolist() != other["dress"].tolist()


def test_a_paired_difference_is_narrower_than_two_separate_intervals(
    queries: tuple[Values, list[str]],
) -> None:
    values, categories = queries
    better = values[:, 0].copy()
    better[np.flatnonzero(better == 0)[:12]] = 1.0
    found = paired_difference(better, values[:, 0], categories)
    assert found.value == pytest.approx(100 * 12 / 150 / 2)
    assert found.low < found.value < found.high
    assert found.excludes_zero
    brute = drawn_one_by_one((better - values[:, 0])[:, None], categories, 6000, seed=1)
    assert [found.low, found.high] == pytest.approx(np.quantile(brute, [0.025, 0.975]).tolist(), abs=0.4)
    alone = confidence_intervals(values[:, :1], categories)["mean"][0]
    assert found.high - found.low < (alone[1] - alone[0]) / 2


def test_a_model_does_not_differ_from_itself(queries: tuple[Values, list[str]]) -> None:
    values, categories = queries
    found = paired_difference(values[:, 0], values[:, 0], categories)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    assert not found.excludes_zero


def test_what_cannot_be_resampled_is_refused() -> None:
    with pytest.raises(ValueError, match="needs queries"):
        resampled_means(np.zeros((0, 1)), [])
    with pytest.raises(ValueError, match="3 queries, 2 categories"):
        resampled_means(np.zeros((3, 1)), ["a", "b"])
    with pytest.raises(ValueError, match="equal length"):
        paired_difference(np.zeros(3), np.zeros(2), ["a"] * 3)


def test_where_all_or_none_hit_the_interval_says_how_few_the_queries_are() -> None:
    # None of 6 hit at the first cut-off and all at the second: Wilson gives 0 to 39 and 61 to 100.
    ends = confidence_intervals(np.tile([0.0, 1.0], (6, 1)), ["all"] * 6, resamples=50)
    for category in ("all", "mean"):
        np.testing.assert_allclose(ends[category], [[0, 39.03], [60.97, 100]], atol=0.01)
    # The headline of the two is 50 for each query, and no surer than either.
    [[low, high]] = confidence_intervals(np.full((6, 1), 0.5), ["all"] * 6, resamples=50)["mean"]
    assert low < 20
    assert high > 80


def test_the_mean_over_categories_is_as_sure_as_its_smallest_let_it_be() -> None:
    categories = ["large"] * 1_000 + ["small"] * 4
    ends = confidence_intervals(np.ones((1_004, 1)), categories, resamples=50)
    np.testing.assert_allclose(ends["large"], [[99.62, 100]], atol=0.01)
    # Half of the mean comes from four queries, so it is as sure as one over 4 / (1 / 1000 + 1 / 4), about 16.
    np.testing.assert_allclose(ends["mean"], wilson_interval(np.ones(1), 4 / (1 / 1_000 + 1 / 4)))


def test_wilson_agrees_with_its_published_form() -> None:
    # 8 of 10: 49.0 to 94.3 (A. Agresti and B. Coull, The American Statistician 52, 1998, from equation 2).
    np.testing.assert_allclose(wilson_interval(np.array([0.8]), 10), [[49.02, 94.33]], atol=0.01)
