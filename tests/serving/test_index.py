"""The nearest pictures: exactly those of a brute-force search, or a measured share of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

from cir_assets.retrieval.ranking import best_of, place_among, top_k
from cir_assets.serving.index import PROBED, Index


def unit(rows: int, seed: int, dimension: int = 16) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 1000), st.data())
def test_exact_search_gives_what_sorting_everything_gives(
    rows: int, top: int, seed: int, data: st.DataObject
) -> None:
    features, query = unit(rows, seed), unit(1, seed + 1)[0]
    among = data.draw(st.none() | st.sets(st.integers(0, rows - 1), min_size=1))
    without = data.draw(st.none() | st.integers(0, rows - 1))
    chosen = sorted(range(rows) if among is None else among)
    candidates = [row for row in chosen if row != without]
    expected = sorted(candidates, key=lambda row: -float(features[row] @ query))[:top]
    found = Index(features).search(
        torch.from_numpy(query),
        top,
        among=None if among is None else torch.tensor(sorted(among)),
        without=None if without is None else torch.tensor([without]),
    )
    assert found.exact
    assert found.rows.tolist() == expected
    np.testing.assert_allclose(found.scores, features[expected] @ query, atol=1e-6)


def test_equal_scores_are_in_the_gallerys_order() -> None:
    features = np.repeat(np.eye(1, 16, dtype=np.float32), 5, axis=0)
    assert Index(features).search(torch.from_numpy(features[0]), 5).rows.tolist() == [0, 1, 2, 3, 4]


@pytest.fixture(scope="module")
def large() -> Index:
    """Twenty thousand pictures in two hundred clusters, over the size that is searched exactly."""
    pytest.importorskip("faiss", reason="faiss-cpu is an extra: pip install 'cir-assets[approximate]'")
    centres = unit(200, 1, 64)
    near = centres[np.random.default_rng(2).integers(0, 200, 20_000)] + 0.3 * unit(20_000, 3, 64)
    features = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    return Index(features, exact_up_to=10_000)


def test_over_the_stated_size_the_index_is_approximate_and_its_recall_is_measured(large: Index) -> None:
    drawn = torch.from_numpy(np.random.default_rng(4).integers(0, len(large), (2, 100)))
    composed = functional.normalize(large.features[drawn[0]] + large.features[drawn[1]], dim=1)
    hits = [np.isin(large.exact(query, 50).rows, large.search(query, 50).rows).mean() for query in composed]
    assert not large.search(composed[0], 5).exact
    large.measure_recall(composed)
    assert large.recall == pytest.approx(float(np.mean(hits)))
    assert np.mean(hits) > 0.8


def test_the_gallerys_own_pictures_would_flatter_the_recall(large: Index) -> None:
    drawn = torch.from_numpy(np.random.default_rng(4).integers(0, len(large), (2, 100)))
    assert large.approximate is not None
    large.approximate.nprobe = 2
    try:
        large.measure_recall(large.features[drawn[0]])
        flattered = large.recall
        large.measure_recall(functional.normalize(large.features[drawn].sum(0), dim=1))
    finally:
        large.approximate.nprobe = PROBED
    assert large.recall is not None
    assert flattered is not None
    assert large.recall < flattered - 0.1


def test_what_is_found_approximately_has_exact_scores_and_leaves_out_the_reference(large: Index) -> None:
    query = large.features[7]
    found = large.search(query, 10, without=torch.tensor([7]))
    assert len(found.rows) == 10
    assert 7 not in found.rows
    np.testing.assert_allclose(found.scores, (large.features[found.rows] @ query).numpy(), atol=1e-6)


def test_without_faiss_a_large_gallery_is_searched_exactly_and_it_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    index = Index(unit(20, 0), exact_up_to=10)
    assert index.search(index.features[0], 5).exact
    assert "20 pictures are more than 10 and faiss is not installed" in caplog.text


def test_one_category_is_searched_exactly_whatever_the_size(large: Index) -> None:
    assert large.search(large.features[0], 5, among=torch.arange(100)).exact


def test_up_to_the_stated_size_nothing_is_approximated() -> None:
    index = Index(unit(1_000, 0))
    assert index.approximate is None
    assert index.recall is None


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 700), st.integers(1, 6), st.integers(1, 6), st.integers(0, 1000))
def test_many_queries_at_once_are_ranked_as_each_is_alone_whatever_is_left_out(
    rows: int, queries: int, top: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    features = unit(rows, seed)
    # Copies far apart and side by side: ties that fall into one stretch and into several.
    features[random.integers(0, rows, rows // 2)] = features[0]
    index, asked = Index(features), torch.from_numpy(unit(queries, seed + 1))
    left_out = torch.from_numpy(np.unique(random.integers(0, rows, rows // 3)))
    scores = index.scores(asked)
    scores[:, left_out] = -torch.inf
    there = np.setdiff1d(np.arange(rows), left_out)
    for query, found in zip(asked, index.best(asked, scores, top), strict=True):
        expected, its_scores = best_of(
            query, index.features, torch.from_numpy(there), index.features[there] @ query, top
        )
        np.testing.assert_array_equal(found.rows, expected)
        np.testing.assert_array_equal(found.scores, its_scores)


def test_searching_and_evaluating_have_one_order_of_a_gallery_ties_and_near_ties_among_it() -> None:
    random = np.random.default_rng(5)
    features = random.standard_normal((400, 24)).astype(np.float32)
    features[100:200] = features[:100]
    # Of the last bit of a float32: a product of matrices may order these by how it was cut into blocks.
    features[200:300] = np.nextafter(features[:100], np.float32(2))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    queries = torch.from_numpy(features[::7].copy())
    index, gallery = Index(features), torch.from_numpy(features)
    everything = torch.arange(len(features))
    positions, scores = top_k(queries, gallery, 50)
    for query, expected, its_scores in zip(queries, positions, scores, strict=True):
        found = index.search(query, 50)
        np.testing.assert_array_equal(found.rows, expected)
        np.testing.assert_array_equal(found.scores, its_scores)
        for place in (0, 7, 49):
            target = int(expected[place])
            assert (
                place_among(query, gallery, everything, index.scores(query[None])[0], target)[0] == place + 1
            )
