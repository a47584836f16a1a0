"""One rule orders every gallery: greater score first, equal scores in the gallery's order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cir_assets.retrieval import ranking
from cir_assets.retrieval.ranking import (
    Positions,
    search,
    subset_order,
    top_k,
    unit_length,
)

SEEDS = st.integers(0, 2**32 - 1)


def full_sort(queries: Tensor, gallery: Tensor, excluded: Positions | None = None) -> list[list[int]]:
    """Order each gallery by sorting it whole, in float64."""
    scores = (queries.double()[:, None, :] * gallery.double()[None]).sum(dim=2).numpy()
    orders = []
    for row, of_query in enumerate(scores):
        order = sorted(range(len(of_query)), key=lambda position: (-of_query[position], position))
        orders.append([p for p in order if excluded is None or p != excluded[row]])
    return orders


def target_ranks(
    queries: Tensor,
    gallery: Tensor,
    target: Positions,
    excluded: Positions | None = None,
    block: int | None = None,
) -> Positions:
    """The rank of each query's target, and nothing else."""
    return search(queries, gallery, target, excluded, k=0, with_scores=False, block=block).target_rank


@st.composite
def tied_galleries(draw: st.DrawFn) -> tuple[Tensor, Tensor, Positions, Positions]:
    """Small whole numbers: exact in any arithmetic, so that many scores are truly equal."""
    count, size, dimension = draw(st.integers(1, 12)), draw(st.integers(2, 40)), draw(st.integers(1, 5))
    generator = np.random.default_rng(draw(SEEDS))
    queries = torch.from_numpy(generator.integers(-2, 3, (count, dimension)).astype(np.float32))
    gallery = torch.from_numpy(generator.integers(-2, 3, (size, dimension)).astype(np.float32))
    target = generator.integers(0, size, count)
    excluded = np.where(
        generator.random(count) < 0.7, (target + generator.integers(1, size, count)) % size, -1
    )
    return queries, gallery, target, excluded


def nearly_tied(seed: int, count: int = 30, size: int = 300, dimension: int = 48) -> tuple[Tensor, Tensor]:
    """Draw a gallery of exact twins and of neighbours one rounding step apart."""
    generator = torch.Generator().manual_seed(seed)
    originals = unit_length(torch.randn(size // 6, dimension, generator=generator))
    gallery = originals.repeat(6, 1)[torch.randperm(size // 6 * 6, generator=generator)]
    nudged = torch.rand(gallery.shape, generator=generator) < 0.002
    gallery = torch.where(nudged, torch.nextafter(gallery, torch.tensor(torch.inf)), gallery)
    queries = originals[:count] + 0.3 * torch.randn(
        min(count, len(originals)), dimension, generator=generator
    )
    return unit_length(queries), gallery


@given(tied_galleries())
@settings(deadline=None, max_examples=150)
def test_ranks_by_counting_equal_a_full_sort_with_ties_and_exclusion(
    case: tuple[Tensor, Tensor, Positions, Positions],
) -> None:
    queries, gallery, target, excluded = case
    orders = full_sort(queries, gallery, excluded)
    expected = [order.index(position) for order, position in zip(orders, target.tolist(), strict=True)]
    assert target_ranks(queries, gallery, target, excluded).tolist() == expected


@given(tied_galleries(), st.integers(1, 45))
@settings(deadline=None, max_examples=150)
def test_best_candidates_equal_the_head_of_a_full_sort(
    case: tuple[Tensor, Tensor, Positions, Positions], k: int
) -> None:
    queries, gallery, _, excluded = case
    positions, scores = top_k(queries, gallery, k, excluded)
    width = min(k, len(gallery))
    assert positions.shape == scores.shape == (len(queries), width)
    for row, order in enumerate(full_sort(queries, gallery, excluded)):
        head = order[:width]
        assert positions[row].tolist() == head + [-1] * (width - len(head))
        assert scores[row, : len(head)].tolist() == [float(queries[row] @ gallery[p]) for p in head]
        assert np.isnan(scores[row, len(head) :]).all()


@given(tied_galleries(), st.integers(1, 45), st.integers(1, 9))
@settings(deadline=None, max_examples=150)
def test_a_gallery_looked_through_in_blocks_gives_what_it_gives_whole(
    case: tuple[Tensor, Tensor, Positions, Positions], k: int, width: int
) -> None:
    queries, gallery, target, excluded = case
    whole = search(queries, gallery, target, excluded, k=k)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ranking, "GALLERY_BLOCK", width)
        patched.setattr(ranking, "STRETCH", 3)
        patched.setattr(ranking, "SPARE_CANDIDATES", 1)
        parts = search(queries, gallery, target, excluded, k=k)
    assert parts.target_rank.tolist() == whole.target_rank.tolist()
    assert parts.positions.tolist() == whole.positions.tolist()
    assert np.array_equal(parts.scores, whole.scores, equal_nan=True)


@pytest.mark.parametrize("block", [64, 100])
def test_the_best_are_found_where_every_block_is_better_than_those_before(block: int) -> None:
    torch.manual_seed(block)
    queries = unit_length(torch.randn(5, 16))
    scattered = unit_length(torch.randn(1000, 16))
    gallery = scattered[(scattered @ queries.sum(0)).argsort()]
    expected = (queries.double() @ gallery.double().T).argsort(dim=1, descending=True)[:, :7]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ranking, "GALLERY_BLOCK", block)
        positions, _ = top_k(queries, gallery, 7)
    assert positions.tolist() == expected.tolist()


@given(SEEDS, st.integers(40, 120))
@settings(deadline=None, max_examples=30)
def test_near_ties_in_other_blocks_are_found(seed: int, width: int) -> None:
    queries, gallery = nearly_tied(seed)
    target = np.arange(len(queries))
    whole = search(queries, gallery, target, k=30)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ranking, "GALLERY_BLOCK", width)
        parts = search(queries, gallery, target, k=30)
    assert parts.target_rank.tolist() == whole.target_rank.tolist()
    assert parts.positions.tolist() == whole.positions.tolist()


@given(SEEDS)
@settings(deadline=None, max_examples=15)
def test_near_ties_are_ordered_as_float64_orders_them(seed: int) -> None:
    queries, gallery = nearly_tied(seed)
    target = np.random.default_rng(seed).integers(0, len(gallery), len(queries))
    found = search(queries, gallery, target, k=len(gallery))
    # Two neighbours that float64 cannot tell apart may stand either way in the oracle, never in their scores.
    scores = (queries.double()[:, None, :] * gallery.double()[None]).sum(dim=2)
    in_order = scores.gather(1, torch.from_numpy(found.positions))
    assert float(in_order.diff(dim=1).max()) <= 1e-15
    assert sorted(found.positions[0].tolist()) == list(range(len(gallery)))
    at_rank = found.positions[np.arange(len(queries)), found.target_rank]
    assert at_rank.tolist() == target.tolist()


@given(SEEDS)
@settings(deadline=None, max_examples=15)
def test_twins_have_equal_scores_and_stand_in_the_gallerys_order(seed: int) -> None:
    queries, gallery = nearly_tied(seed)
    positions, scores = top_k(queries, gallery, len(gallery))
    for row in range(len(queries)):
        ordered = gallery[positions[row]]
        for place in (ordered[1:] == ordered[:-1]).all(dim=1).nonzero().flatten().tolist():
            assert positions[row, place] < positions[row, place + 1]
            assert scores[row, place] == scores[row, place + 1]


@given(SEEDS, st.integers(1, 60))
@settings(deadline=None, max_examples=20)
def test_the_block_size_changes_no_bit_of_any_result(seed: int, block: int) -> None:
    queries, gallery = nearly_tied(seed)
    generator = np.random.default_rng(seed)
    target = generator.integers(0, len(gallery), len(queries))
    excluded = (target + 1) % len(gallery)
    whole = search(queries, gallery, target, excluded, k=20)
    parts = search(queries, gallery, target, excluded, k=20, block=block)
    assert whole.target_rank.tobytes() == parts.target_rank.tobytes()
    assert whole.target_score.tobytes() == parts.target_score.tobytes()
    assert whole.positions.tobytes() == parts.positions.tobytes()
    assert whole.scores.tobytes() == parts.scores.tobytes()


@given(SEEDS)
@settings(deadline=None, max_examples=20)
def test_excluding_a_picture_lowers_the_rank_exactly_where_it_was_ahead(seed: int) -> None:
    queries, gallery = nearly_tied(seed)
    generator = np.random.default_rng(seed)
    target = generator.integers(0, len(gallery), len(queries))
    excluded = (target + generator.integers(1, len(gallery), len(queries))) % len(gallery)
    full = target_ranks(queries, gallery, target)
    was_ahead = target_ranks(queries, gallery, excluded) < full
    assert target_ranks(queries, gallery, target, excluded).tolist() == (full - was_ahead).tolist()


@pytest.mark.parametrize("size", [3817, 6346, 5373, 2296])
def test_over_all_targets_each_rank_comes_once_so_chance_is_k_over_the_gallery(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    gallery = unit_length(torch.randn(size, 8, generator=generator))
    query = unit_length(torch.randn(1, 8, generator=generator))
    ranks = target_ranks(query.repeat(size, 1), gallery, np.arange(size))
    assert sorted(ranks.tolist()) == list(range(size))


def test_chance_within_a_set_of_six_is_20_40_60_percent() -> None:
    generator = torch.Generator().manual_seed(0)
    gallery = unit_length(torch.randn(60, 8, generator=generator))
    queries = unit_length(torch.randn(10, 8, generator=generator))
    sets = np.arange(60).reshape(10, 6)
    every = [
        search(queries, gallery, sets[:, place], sets[:, 0], k=0, members=sets).subset_rank
        for place in range(1, 6)
    ]
    for row in zip(*every, strict=True):
        assert sorted(row) == [0, 1, 2, 3, 4]


@given(tied_galleries(), st.integers(1, 45))
@settings(deadline=None, max_examples=100)
def test_the_rank_within_a_set_is_the_targets_place_in_the_order_within_it(
    case: tuple[Tensor, Tensor, Positions, Positions], width: int
) -> None:
    queries, gallery, target, excluded = case
    random = np.random.default_rng(width)
    members = np.full((len(queries), 6), -1)
    for row, wanted in enumerate(target):
        others = random.permutation(np.setdiff1d(np.arange(len(gallery)), [wanted]))[:4]
        members[row, : len(others) + 1] = random.permutation([wanted, *others])
    order, _ = subset_order(queries, gallery, members, excluded)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ranking, "GALLERY_BLOCK", width)
        found = search(queries, gallery, target, excluded, k=0, members=members)
    assert found.subset_rank is not None
    assert found.subset_rank.tolist() == (order == target[:, None]).argmax(axis=1).tolist()


@given(SEEDS)
@settings(deadline=None, max_examples=15)
def test_near_ties_within_a_set_are_told_apart_exactly(seed: int) -> None:
    queries, gallery = nearly_tied(seed)
    random = np.random.default_rng(seed)
    members = np.stack([random.permutation(len(gallery))[:20] for _ in range(len(queries))])
    order, _ = subset_order(queries, gallery, members, np.full(len(queries), -1))
    found = search(queries, gallery, members[:, 0], k=0, members=members)
    assert found.subset_rank is not None
    assert found.subset_rank.tolist() == (order == members[:, :1]).argmax(axis=1).tolist()


@given(tied_galleries())
@settings(deadline=None, max_examples=50)
def test_the_order_within_a_set_is_the_order_of_the_whole_gallery(
    case: tuple[Tensor, Tensor, Positions, Positions],
) -> None:
    queries, gallery, _, excluded = case
    generator = np.random.default_rng(len(gallery))
    members = np.stack([generator.permutation(len(gallery))[:6] for _ in range(len(queries))])
    order, scores = subset_order(queries, gallery, members, excluded)
    for row, whole in enumerate(full_sort(queries, gallery, excluded)):
        expected = [position for position in whole if position in members[row]]
        assert order[row].tolist() == expected + [-1] * (members.shape[1] - len(expected))
        assert np.isnan(scores[row]).tolist() == (order[row] < 0).tolist()


def test_a_gallery_of_one_picture_many_times_is_ranked_in_its_own_order() -> None:
    gallery = unit_length(torch.ones(500, 16))
    queries = unit_length(torch.randn(3, 16, generator=torch.Generator().manual_seed(1)))
    positions, _ = top_k(queries, gallery, 50)
    assert positions.tolist() == [list(range(50))] * 3
    assert target_ranks(queries, gallery, np.array([0, 250, 499])).tolist() == [0, 250, 499]


@pytest.fixture
def coarse_products() -> Iterator[None]:
    """Let torch use bfloat16 inside matrix products, where the processor can."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("coarse_products")
def test_coarser_matrix_products_and_autocast_change_no_rank() -> None:
    queries, gallery = nearly_tied(7)
    target = np.arange(len(queries))
    coarse = search(queries, gallery, target)
    torch.set_float32_matmul_precision("highest")
    exact = search(queries, gallery, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = search(queries, gallery, target)
    for other in (coarse, cast):
        assert other.target_rank.tolist() == exact.target_rank.tolist()
        assert other.positions.tolist() == exact.positions.tolist()


def test_the_targets_score_is_the_cosine_and_the_score_it_is_retrieved_with() -> None:
    queries, gallery = nearly_tied(3)
    target = np.arange(len(queries))
    found = search(queries, gallery, target, k=len(gallery))
    cosine = torch.nn.functional.cosine_similarity(queries, gallery[: len(queries)])
    np.testing.assert_allclose(found.target_score, cosine.numpy(), atol=1e-6)
    retrieved = found.scores[np.arange(len(queries)), found.target_rank]
    assert retrieved.tolist() == found.target_score.tolist()


def test_queries_without_a_public_target_have_no_rank_but_are_retrieved_for() -> None:
    queries, gallery = nearly_tied(4)
    target = np.where(np.arange(len(queries)) % 2, np.arange(len(queries)), -1)
    some = search(queries, gallery, target)
    none = search(queries, gallery, None)
    assert (some.target_rank[target < 0] == -1).all()
    assert (some.target_rank[target >= 0] >= 0).all()
    assert np.isnan(none.target_score).all()
    assert none.positions.tolist() == some.positions.tolist()


def test_no_queries_give_no_ranks() -> None:
    gallery = unit_length(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
    nothing = np.zeros(0, dtype=np.int64)
    assert target_ranks(gallery[:0], gallery, nothing).shape == (0,)
    sets = search(gallery[:0], gallery, nothing, members=np.zeros((0, 6), dtype=np.int64))
    assert sets.subset_rank is not None
    assert sets.subset_rank.shape == (0,)


def test_unit_length_scales_rows_and_refuses_rows_without_direction() -> None:
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.5]])
    assert unit_length(rows).tolist() == [pytest.approx([0.6, 0.8]), [0.0, 1.0]]
    for broken in (0.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="row 1"):
            unit_length(torch.tensor([[1.0, 0.0], [broken, 0.0]]))


def test_what_cannot_be_ranked_is_refused_with_the_reason() -> None:
    gallery = unit_length(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)))
    queries, target = gallery[:2], np.array([0, 1])
    with pytest.raises(ValueError, match="same number of columns"):
        target_ranks(queries[:, :3], gallery, target)
    with pytest.raises(ValueError, match="target holds positions from 0 to 5"):
        target_ranks(queries, gallery, np.array([0, 5]))
    with pytest.raises(ValueError, match="one position for each of 2"):
        target_ranks(queries, gallery, np.array([0]))
    with pytest.raises(ValueError, match="excluded from its own ranking"):
        target_ranks(queries, gallery, target, np.array([-1, 1]))
    with pytest.raises(ValueError, match="row 1 of the query features is not finite"):
        target_ranks(torch.stack([queries[0], queries[1] * torch.nan]), gallery, target)
    with pytest.raises(ValueError, match="query 1 is not among the members"):
        search(queries, gallery, target, members=np.array([[0, 2, 3], [2, 3, 4]]))
    with pytest.raises(ValueError, match=r"members must be \(2 queries"):
        search(queries, gallery, target, members=np.array([[0, 1, 2]]))
    with pytest.raises(ValueError, match="block must be positive"):
        target_ranks(queries, gallery, target, block=0)
