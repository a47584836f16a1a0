"""The nearest pictures: exactly those of a brute-force search, or a measured share of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cir_assets.serving.index import Index


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
        without=without,
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
    queries = large.features[::100]
    hits = [np.isin(large.exact(query, 50).rows, large.search(query, 50).rows).mean() for query in queries]
    assert not large.search(queries[0], 5).exact
    assert large.recall is not None
    assert large.recall > 0.8
    assert abs(large.recall - float(np.mean(hits))) < 0.05


def test_one_category_is_searched_exactly_whatever_the_size(large: Index) -> None:
    assert large.search(large.features[0], 5, among=torch.arange(100)).exact


def test_up_to_the_stated_size_nothing_is_approximated() -> None:
    index = Index(unit(1_000, 0))
    assert index.approximate is None
    assert index.recall is None
