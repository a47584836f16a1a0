"""Our own rankings, written down as another system's, come back with our own figures; broken ones are refused whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cir_assets.retrieval.brought_rankings import Known, brought_rankings
from cir_assets.retrieval.evaluation import Evaluation, evaluate, summed_up
from cir_assets.retrieval.protocols import PROTOCOLS, QueryGroup
from cir_assets.retrieval.ranking import unit_length
from cir_assets.retrieval.ranking_files import BrokenRanking, RankedLists
from tests.retrieval.test_validation import drawn_groups


def as_lists(
    groups: Sequence[QueryGroup], queries: torch.Tensor, features: torch.Tensor, depth: int | None = None
) -> dict[str, list[str]]:
    """Each query's gallery, best first, by plain sorting; the reference is in it as any system leaves it there."""
    lists, row = {}, 0
    for group in groups:
        gallery = torch.from_numpy(group.gallery)
        for query in group.query_ids:
            scores = (features[gallery].double() * queries[row].double()).sum(dim=1)
            order = gallery[scores.argsort(descending=True, stable=True)]
            lists[query] = [f"p{each}" for each in order.tolist()][:depth]
            row += 1
    return lists


def with_ids_of_their_own(groups: Sequence[QueryGroup]) -> list[QueryGroup]:
    return [replace(g, query_ids=[f"{g.category}-{n}" for n in range(len(g))]) for g in groups]


def ranked(lists: dict[str, list[str]]) -> RankedLists:
    return RankedLists(Path("theirs.csv"), lists, {query: f"line {n}" for n, query in enumerate(lists, 2)})


@pytest.fixture(params=["fashioniq", "cirr", "circo"])
def ours(request: pytest.FixtureRequest) -> tuple[Evaluation, list[QueryGroup], dict[str, list[str]], Known]:
    groups, features, queries = drawn_groups(request.param)
    groups = with_ids_of_their_own(groups)
    features = unit_length(features)
    found = evaluate(request.param, groups, queries, features, resamples=50)
    known = Known([f"p{row}" for row in range(len(features))], missing={"gone"}, lost={"fallen"})
    return found, groups, as_lists(groups, queries, features), known


Ours = tuple[Evaluation, list[QueryGroup], dict[str, list[str]], Known]


def test_our_own_lists_brought_back_give_our_own_figures_ranks_and_pictures(ours: Ours) -> None:
    found, groups, lists, known = ours
    # What fell with a missing picture takes no part, as in ours.
    lists = {query: ["gone", *images] for query, images in lists.items()} | {"fallen": ["gone"]}
    own, rankings = brought_rankings(found.protocol, groups, ranked(lists), known)
    brought = summed_up(found.protocol, own, rankings, resamples=50)
    assert brought.metrics.equals(found.metrics)
    assert brought.rankings.drop("target_score").equals(found.rankings.drop("target_score"))
    assert brought.retrieved.drop("score").equals(found.retrieved.drop("score"))
    assert brought.left_out == {"ranked_picture_missing": found.queries}


@pytest.mark.parametrize("name", ["fashioniq", "cirr"])
def test_a_target_beyond_the_list_ranks_one_past_its_end(name: str) -> None:
    groups, features, queries = drawn_groups(name)
    groups, features = with_ids_of_their_own(groups), unit_length(features)
    # Queries turned round rank their targets last.
    found = evaluate(name, groups, -queries, features, resamples=50)
    lists = as_lists(groups, -queries, features)
    short = {query: images[:51] for query, images in lists.items()}
    known = Known([f"p{row}" for row in range(len(features))])
    sets = ranked(lists) if found.protocol.subset else None
    own, rankings = brought_rankings(found.protocol, groups, ranked(short), known, sets)
    brought = summed_up(name, own, rankings, resamples=50)
    assert brought.metrics.equals(found.metrics)
    pairs = list(zip(found.rankings["target_rank"], brought.rankings["target_rank"], strict=True))
    assert any(mine >= 50 for mine, _ in pairs)
    # The reference stands in some lists and is taken out, which makes them one shorter.
    assert all(theirs == mine or (mine >= 50 and theirs in (50, 51)) for mine, theirs in pairs)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lists: lists.pop("dress-3"), "theirs.csv lacks 1 of 65 queries, the first is query dress-3"),
        (lambda lists: lists.update({"x": []}), "line 67, query x: the split has no such query; take it out"),
        (
            lambda lists: lists["dress-3"].insert(0, "p?"),
            "line 5, query dress-3: the data set has no picture p?",
        ),
        (lambda lists: lists["dress-3"].insert(0, "other"), "picture other is not in the gallery searched"),
        (lambda lists: lists["dress-3"].insert(9, lists["dress-3"][0]), "stands twice in the list"),
        (lambda lists: lists["dress-3"].__delitem__(slice(49, None)), "give at least 50"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place_and_the_mend(
    change: Callable[[dict[str, list[str]]], object], said: str
) -> None:
    groups, features, queries = drawn_groups("fashioniq")
    groups = with_ids_of_their_own(groups)
    lists = as_lists(groups, queries, unit_length(features))
    change(lists)
    places = {query: f"line {number}" for number, query in enumerate(lists, 2)}
    known = Known([*(f"p{row}" for row in range(len(features))), "other"])
    with pytest.raises(BrokenRanking) as raised:
        brought_rankings(
            PROTOCOLS["fashioniq"], groups, RankedLists(Path("theirs.csv"), lists, places), known
        )
    assert said in str(raised.value)


def test_a_list_without_the_image_set_asks_for_a_file_of_it() -> None:
    groups, features, queries = drawn_groups("cirr")
    groups = with_ids_of_their_own(groups)
    short = as_lists(groups, queries, unit_length(features), depth=51)
    known = Known([f"p{row}" for row in range(len(features))])
    with pytest.raises(BrokenRanking, match="rank the whole gallery, or give those lists as subset_file"):
        brought_rankings(PROTOCOLS["cirr"], groups, ranked(short), known)
