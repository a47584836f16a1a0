"""Scoring in training gives the evaluation's figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from cir_assets.retrieval.evaluation import evaluate
from cir_assets.retrieval.protocols import QueryGroup
from cir_assets.retrieval.ranking import unit_length
from cir_assets.retrieval.validation import Validation
from tests.retrieval.conftest import figures_of


def drawn_groups(protocol: str, seed: int = 0) -> tuple[list[QueryGroup], Tensor, Tensor]:
    """Draw two categories of 40 and 25 queries over 200 raw features, and queries near their targets."""
    generator = np.random.default_rng(seed)
    features = torch.from_numpy(generator.standard_normal((200, 12)).astype(np.float32) * 3)
    groups, wanted = [], []
    for category, count in (("dress", 40), ("shirt", 25)):
        gallery = generator.permutation(200)[:120]
        sets = np.stack([generator.permutation(120)[:6] for _ in range(count)])
        groups.append(
            QueryGroup(
                category=category,
                gallery=gallery,
                reference=gallery[sets[:, 0]],
                target=sets[:, 1],
                excluded=sets[:, 0] if protocol == "cirr" else np.full(count, -1),
                members=sets if protocol == "cirr" else None,
                captions=[f"{category} {index}" for index in range(count)],
                query_ids=[f"{category}-{index}" for index in range(count)],
                further_targets=sets[:, 2:4] if protocol == "circo" else None,
            )
        )
        wanted.append(features[gallery[sets[:, 1]]])
    noise = torch.from_numpy(generator.standard_normal((65, 12)).astype(np.float32) * 4)
    return groups, features, unit_length(torch.cat(wanted) + noise)


@pytest.mark.parametrize("protocol", ["fashioniq", "cirr", "circo"])
def test_scores_equal_the_evaluations_figures(protocol: str) -> None:
    groups, features, queries = drawn_groups(protocol)
    scores = Validation(groups, features, protocol).score(queries)
    evaluation = evaluate(protocol, groups, queries, unit_length(features), resamples=10)
    assert scores["headline"] == pytest.approx(evaluation.headline)
    for name, value in figures_of(evaluation).items():
        assert scores[name] == pytest.approx(value)
    for category in ("dress", "shirt"):
        for name, value in figures_of(evaluation, category).items():
            assert scores[f"{category}/{name}"] == pytest.approx(value)
    assert 0 < scores["headline"] < 100


def test_captions_and_references_stand_in_the_order_of_the_groups() -> None:
    groups, features, _ = drawn_groups("fashioniq")
    validation = Validation(groups, features, "fashioniq")
    assert len(validation) == len(validation.captions) == 65
    assert validation.captions[40] == "shirt 0"
    assert validation.reference.dtype == torch.int64
    assert validation.reference.tolist() == [*groups[0].reference, *groups[1].reference]


def test_scoring_leaves_queries_that_carry_a_gradient_alone() -> None:
    groups, features, queries = drawn_groups("fashioniq")
    tracked = queries.clone().requires_grad_()
    validation = Validation(groups, features.requires_grad_(), "fashioniq")
    assert validation.score(tracked) == validation.score(queries)
    assert tracked.grad is None


def test_an_early_epoch_with_a_recall_of_zero_is_scored() -> None:
    groups, features, queries = drawn_groups("cirr")
    scores = Validation(groups, features, "cirr").score(-queries)
    assert scores["recall@1"] == scores["harmonic_mean"] == scores["geometric_mean"] == 0.0
    assert scores["arithmetic_mean"] > 0


def test_a_wrong_number_of_queries_or_none_is_refused() -> None:
    groups, features, queries = drawn_groups("fashioniq")
    with pytest.raises(ValueError, match="expected 65 queries"):
        Validation(groups, features, "fashioniq").score(queries[:-1])
    with pytest.raises(ValueError, match="no queries to validate on"):
        Validation([], features, "fashioniq")
