"""FashionIQ's four protocols from one pass of products, held against a ranking written out in plain words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from cir_assets.retrieval.evaluation import Evaluation, evaluate, evaluate_each, same_queries
from cir_assets.retrieval.protocols import QueryGroup, query_groups
from cir_assets.retrieval.ranking import View, search, search_each, unit_length
from tests.retrieval.conftest import Tables

KEPT_AND_WHOLE = {
    "fashioniq": (True, True),
    "fashioniq_without_reference": (False, True),
    "fashioniq_val_split": (False, False),
    "fashioniq_val_split_with_reference": (True, False),
}
"""Protocol -> whether the reference is ranked, and whether the gallery is the whole split list."""

CATEGORIES = ("dress", "shirt", "toptee")
DIMENSION = 16
LOOKED_AT = 40
"""Queries of each category ranked the plain way, which is a slow one."""


@dataclass(frozen=True)
class Real:
    """FashionIQ's real val queries with drawn features; features of the first ten pictures are one and the same."""

    tables: Mapping[str, Tables]
    groups: Mapping[str, list[QueryGroup]]
    queries: Tensor
    features: Tensor
    row_of: Mapping[str, int]


@pytest.fixture(scope="module")
def real(fashioniq_tables: Callable[[str], Tables]) -> Real:
    tables = {category: fashioniq_tables(category) for category in CATEGORIES}
    images = [image for listed, _, _ in tables.values() for image in listed]
    galleries = pl.concat([gallery for _, gallery, _ in tables.values()])
    triplets = pl.concat([queries for _, _, queries in tables.values()])
    draw = torch.Generator().manual_seed(3)
    features = torch.randn(len(images), DIMENSION, generator=draw)
    features[:10] = features[0]
    features = unit_length(features)
    row_of = {image: row for row, image in enumerate(images)}
    reference, target = (
        torch.tensor([row_of[image] for image in triplets[role]]) for role in ("reference", "target")
    )
    noise = 0.3 * torch.randn(len(triplets), DIMENSION, generator=draw)
    return Real(
        tables=tables,
        groups={name: query_groups(name, "val", images, galleries, triplets) for name in KEPT_AND_WHOLE},
        queries=unit_length(features[target] + features[reference] + noise),
        features=features,
        row_of=row_of,
    )


@pytest.fixture(scope="module")
def together(real: Real) -> dict[str, Evaluation]:
    found = evaluate_each(real.groups, real.queries, real.features, resamples=10)
    return dict(zip(real.groups, found, strict=True))


def plain_ranks(real: Real, category: str, first: int, *, kept: bool, whole: bool) -> list[int]:
    """The rank of each target, from 1, query by query, as anybody would write it down."""
    split_list, _, triplets = real.tables[category]
    named = {*triplets["reference"], *triplets["target"]}
    gallery = [picture for picture in split_list if whole or picture in named]
    features = real.features[[real.row_of[picture] for picture in gallery]].double()
    ranks = []
    pairs = list(triplets.select("reference", "target").iter_rows())[:LOOKED_AT]
    for query, (reference, target) in zip(real.queries[first:], pairs, strict=False):
        scores = [(score, -place) for place, score in enumerate((features @ query.double()).tolist())]
        ordered = [gallery[-place] for _, place in sorted(scores, reverse=True)]
        ranks.append([each for each in ordered if kept or each != reference].index(target) + 1)
    return ranks


@pytest.mark.parametrize("protocol", KEPT_AND_WHOLE)
def test_recalls_are_those_of_a_plain_implementation(
    protocol: str, real: Real, together: dict[str, Evaluation]
) -> None:
    kept, whole = KEPT_AND_WHOLE[protocol]
    first = 0
    for group in real.groups[protocol]:
        expected = plain_ranks(real, group.category, first, kept=kept, whole=whole)
        found = together[protocol].rankings.filter(category=group.category)["target_rank"] + 1
        for k in (10, 50):
            recall = sum(rank <= k for rank in expected) / LOOKED_AT
            assert (found[:LOOKED_AT] <= k).mean() == pytest.approx(recall)
            assert 0 < recall < 1
        assert found[:LOOKED_AT].to_list() == pytest.approx(expected, abs=1)
        first += len(group)


@pytest.mark.parametrize("protocol", KEPT_AND_WHOLE)
def test_together_gives_what_each_protocol_gives_alone(
    protocol: str, real: Real, together: dict[str, Evaluation]
) -> None:
    alone = evaluate(protocol, real.groups[protocol], real.queries, real.features, resamples=10)
    found = together[protocol]
    assert found.rankings.equals(alone.rankings)
    assert found.retrieved.equals(alone.retrieved)
    assert found.metrics.equals(alone.metrics)
    assert (found.gallery_sizes, found.left_out) == (alone.gallery_sizes, alone.left_out)


def test_different_queries_are_not_evaluated_together(real: Real) -> None:
    groups = real.groups["fashioniq"]
    asked_otherwise = [replace(group, captions=["another text"] * len(group)) for group in groups]
    assert same_queries(groups, real.groups["fashioniq_val_split"])
    assert not same_queries(groups, asked_otherwise)
    assert not same_queries(groups, groups[:2])
    with pytest.raises(ValueError, match="ask different queries"):
        evaluate_each({"fashioniq": groups, "circo": asked_otherwise}, real.queries, real.features)


@pytest.mark.parametrize("ties", [False, True])
def test_a_view_gives_what_a_search_in_its_gallery_alone_gives(ties: bool) -> None:
    draw = np.random.default_rng(8)
    gallery = unit_length(torch.from_numpy(draw.standard_normal((400, 8)).astype(np.float32)))
    if ties:
        # Four times the same hundred pictures: nearly every place is decided by the order of the gallery.
        gallery = gallery[:100].repeat(4, 1)
    queries = unit_length(torch.from_numpy(draw.standard_normal((60, 8)).astype(np.float32)))
    # A view of a few pictures that stand far down: the sieve keeps too few of them.
    for share in (0.05, 0.5):
        inside = draw.random(400) < share
        inside[:6] = True
        places = np.flatnonzero(inside)
        target, excluded = np.array([draw.permutation(6)[:2] for _ in range(60)]).T
        members = np.tile(np.arange(6), (60, 1))
        views = [View(), View(excluded, members=members), View(excluded, inside), View(None, inside, members)]
        found = search_each(queries, gallery, target, views, k=30)
        for view, ranked in zip(views, found, strict=True):
            within = np.arange(400) if view.inside is None else places
            alone = search(
                queries, gallery[torch.from_numpy(within)], target, view.excluded, k=30, members=view.members
            )
            width = alone.positions.shape[1]
            assert (ranked.target_rank == alone.target_rank).all()
            moved = np.where(alone.positions >= 0, within[alone.positions], -1)
            assert (ranked.positions[:, :width] == moved).all()
            assert (ranked.positions[:, width:] == -1).all()
            np.testing.assert_array_equal(ranked.scores[:, :width], alone.scores)
            assert (ranked.subset_rank is None) == (view.members is None)
            if ranked.subset_rank is not None and alone.subset_rank is not None:
                assert (ranked.subset_rank == alone.subset_rank).all()
    with pytest.raises(ValueError, match="target of query 0 is outside the part of the gallery ranked"):
        search_each(queries, gallery, target, [View(), View(inside=np.zeros(400, dtype=bool))])
