"""What a random ranking scores, by formula, is what random rankings score when they are drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cir_assets.retrieval.chance import chance_values, learnt_something
from cir_assets.retrieval.metrics import per_query_values
from cir_assets.retrieval.protocols import PROTOCOLS, Protocol, QueryGroup

DRAWN = 4_000


def group_for(protocol: Protocol, size: int = 40) -> QueryGroup:
    """Four queries, with one to six targets and image sets of three to six where the protocol asks for them."""
    count = 4
    reference = np.arange(count)
    excluded = reference if protocol.reference_removed else np.full(count, -1)
    members = np.array(
        [[0, 10, 20, 30, 31, 32], [1, 11, 21, 31, -1, -1], [12, 13, 2, 33, 34, -1], [13, 3, 23, -1, -1, -1]]
    )
    further = np.array([[-1] * 5, [20, 21, -1, -1, -1], [20, 21, 22, 23, 24], [25, -1, -1, -1, -1]])
    return QueryGroup(
        "all",
        gallery=np.arange(size),
        reference=reference,
        target=np.array([10, 11, 12, 13]),
        excluded=excluded,
        members=members if protocol.subset else None,
        captions=["red"] * count,
        query_ids=list("abcd"),
        further_targets=further if protocol.several_targets else None,
    )


def drawn_values(protocol: Protocol, group: QueryGroup) -> np.ndarray:
    """The mean over rankings drawn at random of what each query contributes, counted as evaluations count it."""
    generator = np.random.default_rng(5)
    total = np.zeros((len(group), len(protocol.metrics)))
    for _ in range(DRAWN):
        orders = []
        for query in range(len(group)):
            order = generator.permutation(len(group.gallery))
            order = order[order != group.excluded[query]]
            orders.append(np.concatenate([order, np.full(len(group.gallery) - len(order), -1)]))
        ranked = np.stack(orders)
        true = (
            [group.target]
            if group.further_targets is None or not protocol.any_target
            else [group.target, *group.further_targets.T]
        )
        places = [
            np.where(each < 0, len(group.gallery), np.argmax(ranked == each[:, None], axis=1))
            for each in true
        ]
        target = np.min(places, axis=0)
        subset = None
        if group.members is not None:
            subset = np.array(
                [
                    [each for each in order if each in set(own) - {-1}].index(wanted)
                    for order, own, wanted in zip(
                        ranked.tolist(), group.members.tolist(), group.target.tolist(), strict=True
                    )
                ]
            )
        total += per_query_values(protocol, target, subset, ranked, group.target, group.further_targets)
    return total / DRAWN


@pytest.mark.parametrize("name", ["fashioniq", "cirr", "circo", "fashion200k", "icir"])
def test_the_formula_agrees_with_rankings_drawn_at_random(name: str) -> None:
    protocol = PROTOCOLS[name]
    group = group_for(protocol)
    expected, found = chance_values(protocol, group), drawn_values(protocol, group)
    # Five standard errors of a share, at most.
    np.testing.assert_allclose(found, expected, atol=5 * 0.5 / np.sqrt(DRAWN))
    assert expected.shape == (4, len(protocol.metrics))


def test_a_gallery_no_larger_than_k_is_found_whole_by_chance() -> None:
    values = chance_values(PROTOCOLS["fashioniq"], group_for(PROTOCOLS["fashioniq"]))
    assert values.tolist() == [[0.25, 1.0]] * 4
    removed = chance_values(
        replace(PROTOCOLS["fashioniq"], reference_removed=True), group_for(PROTOCOLS["cirr"])
    )
    np.testing.assert_allclose(removed[:, 0], 10 / 39)


def test_nothing_was_learnt_where_no_interval_is_above_chance() -> None:
    assert not learnt_something([3.0, 9.0, None], 10.0)
    assert learnt_something([3.0, 11.0], 10.0)
    assert learnt_something([3.0], None)
    assert learnt_something([], 10.0)
