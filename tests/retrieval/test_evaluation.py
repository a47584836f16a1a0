"""One pass gives every figure; parity with the reference implementation on real annotations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from cir_assets.retrieval.evaluation import (
    METRICS_SCHEMA,
    RANKINGS_SCHEMA,
    RETRIEVED_SCHEMA,
    Evaluation,
    compare,
    evaluate,
    metric_frame,
)
from cir_assets.retrieval.metrics import selection_mean
from cir_assets.retrieval.protocols import PROTOCOLS, QueryGroup, query_groups
from cir_assets.retrieval.ranking import unit_length
from tests.retrieval.conftest import Tables, figures_of
from tests.retrieval.test_validation import drawn_groups

Draw = Callable[[dict[str, Any]], Tensor]

CASES = [0, 1, 2, 3, 4]


def parity_queries(case: dict[str, Any], group: QueryGroup, gallery: Tensor, noise: Tensor) -> Tensor:
    """Build unit-length queries as the parity data says; features are the gallery's rows in file order."""
    sigma = float(np.float32(case["sigma"]))
    wanted = gallery[torch.from_numpy(group.gallery[group.target])] * case.get("target_sign", 1)
    text = wanted + sigma * noise
    return unit_length(gallery[torch.from_numpy(group.reference)] + text if case["tau"] else text)


def steps_apart(ranks: pl.Series, expected: np.ndarray[Any, Any]) -> tuple[int, float]:
    """Return the largest difference in rank and the share of queries that differ."""
    gaps = np.abs(ranks.to_numpy().astype(np.int64) - expected.astype(np.int64))
    return int(gaps.max()), float((gaps > 0).mean())


@pytest.mark.parametrize("index", CASES)
def test_fashioniq_hits_and_recalls_equal_the_references(
    index: int, parity: Path, fashioniq_tables: Callable[[str], Tables], drawn: Draw
) -> None:
    case = json.loads((parity / "fashioniq_metrics/cases.json").read_text("utf-8"))[index]
    ranks = np.load(parity / "fashioniq_metrics/ranks.npz")
    values, categories = [], []
    for category, expected in case["categories"].items():
        images, galleries, triplets = fashioniq_tables(category)
        (group,) = query_groups("fashioniq", "val", images, galleries, triplets)
        gallery, noise = drawn(expected["gallery"]), drawn(expected["noise"])
        queries = parity_queries(case, group, gallery, noise)
        found = evaluate("fashioniq", [group], queries, unit_length(gallery), resamples=10)
        for k in (10, 50):
            assert int((found.rankings["target_rank"] < k).sum()) == expected[f"hits_at{k}"]
            assert figures_of(found, category)[f"recall@{k}"] == pytest.approx(
                expected[f"recall_at{k}"], abs=1e-4
            )
        largest, share = steps_apart(found.rankings["target_rank"], ranks[f"{case['name']}_{category}"])
        assert largest <= 1
        assert share <= 0.001
        values.append(found.values)
        categories += [category] * len(group)
    stacked = np.concatenate(values)
    mean = metric_frame("fashioniq", stacked, categories, np.zeros_like(stacked), resamples=10)
    mean = mean.filter(pl.col("category") == "mean")
    names = ["average_recall_at10", "average_recall_at50", "average_recall"]
    assert mean["value"].to_list() == pytest.approx([case[name] for name in names], abs=1e-4)


@pytest.mark.parametrize("index", CASES)
def test_cirr_hits_recalls_and_means_equal_the_references(
    index: int, parity: Path, cirr_tables: Callable[[str], Tables], drawn: Draw
) -> None:
    case = json.loads((parity / "cirr_metrics/cases.json").read_text("utf-8"))[index]
    ranks = np.load(parity / "cirr_metrics/ranks.npz")
    (group,) = query_groups("cirr", "val", *cirr_tables("val"))
    gallery = drawn(case["gallery"])
    queries = parity_queries(case, group, gallery, drawn(case["noise"]))
    found = evaluate("cirr", [group], queries, unit_length(gallery), resamples=10)
    figures = figures_of(found)
    for name, hits in case["hits"].items():
        column, k = ("subset_rank" if name.startswith("R_s") else "target_rank"), int(name.split("@")[1])
        assert int((found.rankings[column] < k).sum()) == hits
        metric = f"subset_recall@{k}" if name.startswith("R_s") else f"recall@{k}"
        assert figures[metric] == pytest.approx(case["recalls"][name], abs=1e-4)
    largest, share = steps_apart(found.rankings["target_rank"], ranks[f"{case['name']}_rank"])
    assert largest <= 1
    assert share <= 0.001
    assert found.rankings["subset_rank"].to_list() == ranks[f"{case['name']}_subset_rank"].tolist()
    summary = case["summary"]
    assert found.headline == pytest.approx(summary["mean(R@5+R_s@1)"], abs=1e-4)
    keyed = dict(zip(PROTOCOLS["cirr"].metrics, list(figures.values())[:-1], strict=True))
    assert selection_mean("cirr", keyed, "arithmetic") == pytest.approx(summary["arithmetic_mean"], abs=1e-4)
    assert selection_mean("cirr", keyed, "harmonic") == pytest.approx(summary["harmonic_mean"], abs=1e-4)
    # Where a recall is 0 the reference raises an error; 0 is what the mean tends to.
    geometric = summary["geometric_mean"] if isinstance(summary["geometric_mean"], float) else 0.0
    assert selection_mean("cirr", keyed, "geometric") == pytest.approx(geometric, abs=1e-4)


@pytest.fixture(scope="module", params=["fashioniq", "cirr", "circo"])
def evaluated(request: pytest.FixtureRequest) -> tuple[Evaluation, list[QueryGroup], Tensor, Tensor]:
    """Evaluate drawn queries under each protocol."""
    groups, features, queries = drawn_groups(request.param)
    features = unit_length(features)
    return evaluate(request.param, groups, queries, features, resamples=400), groups, queries, features


Evaluated = tuple[Evaluation, list[QueryGroup], Tensor, Tensor]


def test_frames_have_their_documented_columns(evaluated: Evaluated) -> None:
    found = evaluated[0]
    assert found.rankings.schema == RANKINGS_SCHEMA
    assert found.retrieved.schema == RETRIEVED_SCHEMA
    assert found.metrics.schema == METRICS_SCHEMA
    assert found.queries == 65
    assert found.gallery_sizes == {"dress": 120, "shirt": 120}
    assert found.gallery_size == 240
    assert found.rankings.drop("subset_rank").null_count().sum_horizontal().item() == 0
    assert found.rankings["subset_rank"].is_null().all() == (found.protocol.name != "cirr")


def test_rows_of_the_feature_matrix_are_those_of_the_groups(evaluated: Evaluated) -> None:
    found, groups, queries, features = evaluated
    shirts = found.rankings.filter(pl.col("category") == "shirt")
    assert shirts["reference_row"].to_list() == groups[1].reference.tolist()
    assert shirts["target_row"].to_list() == groups[1].gallery[groups[1].target].tolist()
    cosine = (queries[40:].double() * features[shirts["target_row"].to_torch()].double()).sum(dim=1)
    np.testing.assert_allclose(shirts["target_score"].to_numpy(), cosine.numpy(), atol=1e-7)


def test_the_target_is_retrieved_at_its_rank_with_its_score(evaluated: Evaluated) -> None:
    found = evaluated[0]
    assert found.retrieved.height == 65 * 50
    met = found.rankings.join(
        found.retrieved,
        left_on=["query_id", "target_rank", "target_row", "target_score"],
        right_on=["query_id", "rank", "image_row", "score"],
        how="semi",
    )
    assert met.height == found.rankings.filter(pl.col("target_rank") < 50).height > 0


def test_retrieved_is_best_first_and_lacks_the_reference_where_it_is_removed(evaluated: Evaluated) -> None:
    found = evaluated[0]
    falls = found.retrieved.select(fall=pl.col("score").diff().over("query_id"))["fall"].drop_nulls()
    assert (falls <= 0).all()
    with_reference = found.retrieved.join(found.rankings.select("query_id", "reference_row"), on="query_id")
    own = with_reference.filter(pl.col("image_row") == pl.col("reference_row")).height
    assert (own == 0) == found.protocol.reference_removed


def test_each_figure_lies_within_its_interval_and_the_headline_comes_last(evaluated: Evaluated) -> None:
    found = evaluated[0]
    inside = found.metrics.filter(
        pl.col("value").is_between(pl.col("ci_low") - 1e-9, pl.col("ci_high") + 1e-9)
    )
    assert inside.height == found.metrics.height == 3 * len(found.protocol.metrics) + 1
    last = found.metrics.row(-1, named=True)
    assert (last["category"], last["metric"], last["k"], last["value"]) == (
        "mean",
        "headline",
        0,
        found.headline,
    )


def test_a_gallery_smaller_than_fifty_is_retrieved_whole() -> None:
    features = unit_length(torch.randn(7, 5, generator=torch.Generator().manual_seed(0)))
    group = QueryGroup(
        category="all",
        gallery=np.arange(7),
        reference=np.array([0, 1]),
        target=np.array([2, 3]),
        excluded=np.array([0, -1]),
        members=np.array([[0, 2, 4], [1, 3, 5]]),
        captions=["a", "b"],
        query_ids=["0", "1"],
    )
    found = evaluate("cirr", [group], features[:2], features)
    assert found.retrieved.group_by("query_id").len().sort("query_id")["len"].to_list() == [6, 7]
    assert figures_of(found)["recall@10"] == 100.0


def test_an_empty_category_has_no_figures_and_its_losses_are_still_counted() -> None:
    groups, features, queries = drawn_groups("fashioniq")
    nothing = np.zeros(0, dtype=np.int64)
    empty = QueryGroup(
        "toptee", nothing, nothing, nothing, nothing, None, [], [], left_out={"target_without_feature": 3}
    )
    with_empty = evaluate("fashioniq", [empty, *groups], queries, unit_length(features), resamples=50)
    without = evaluate("fashioniq", groups, queries, unit_length(features), resamples=50)
    assert with_empty.metrics.equals(without.metrics)
    assert with_empty.left_out == {"target_without_feature": 3}
    assert "toptee" not in with_empty.gallery_sizes


def test_two_models_are_compared_on_the_same_queries_alone() -> None:
    groups, features, queries = drawn_groups("cirr")
    features = unit_length(features)
    good = evaluate("cirr", groups, queries, features, resamples=50)
    bad = evaluate("cirr", groups, -queries, features, resamples=50)
    found = compare(good, bad)
    assert found.value == pytest.approx(good.headline - bad.headline)
    assert found.excludes_zero
    assert compare(bad, good).high < 0
    others = evaluate("cirr", groups[:1], queries[:40], features, resamples=50)
    with pytest.raises(ValueError, match="different queries"):
        compare(good, others)
    fashion = evaluate("fashioniq", groups, queries, features, resamples=50)
    with pytest.raises(ValueError, match="cirr and fashioniq"):
        compare(good, fashion)


def test_raw_features_and_misfitting_queries_are_refused() -> None:
    groups, features, queries = drawn_groups("fashioniq")
    with pytest.raises(ValueError, match="gallery features are not of unit length"):
        evaluate("fashioniq", groups, queries, features)
    with pytest.raises(ValueError, match="65 of 65 query features are not of unit length"):
        evaluate("fashioniq", groups, queries * 2, unit_length(features))
    with pytest.raises(ValueError, match="hold 65 queries, got 64"):
        evaluate("fashioniq", groups, queries[:-1], unit_length(features))
