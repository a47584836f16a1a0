"""The ladder of one pipeline: every method on every split with targets, and figures that agree with its tables."""

from __future__ import annotations

import pytest

from cir_assets.pipeline.evaluation import headlines_of, parts_of_headline
from cir_assets.pipeline.report import results_of
from cir_assets.retrieval.methods import METHODS
from tests.pipeline.conftest import ByHand


def test_what_is_told_is_what_the_tables_hold(by_hand: ByHand) -> None:
    made = by_hand.made["shop/tiny_clip/quick/evaluation"]
    results = results_of(by_hand.work, by_hand.pipeline)
    headlines = headlines_of(results, "fashioniq")
    assert headlines.keys() == {(split, method) for split in ("val", "test") for method in METHODS}
    for (split, method), value in headlines.items():
        assert made.metadata[f"{split}_{method}_headline"] == pytest.approx(value, abs=1e-3)
    assert made.metadata["judged_by"] == "8 queries over galleries of 8 pictures"
    assert results["rankings"].height == 2 * len(METHODS) * 8
    assert set(results["training_epochs"]["stage"]) == {"text_encoder", "combiner", "combiner_frozen_clip"}


def test_a_headline_is_the_mean_of_its_parts(by_hand: ByHand) -> None:
    results = results_of(by_hand.work, by_hand.pipeline)
    parts = parts_of_headline(results, "fashioniq", "combiner")
    assert parts.keys() == {f"{split}_combiner_recall_at_{k}" for split in ("val", "test") for k in (10, 50)}
    mean = (parts["val_combiner_recall_at_10"] + parts["val_combiner_recall_at_50"]) / 2
    assert headlines_of(results, "fashioniq")["val", "combiner"] == pytest.approx(mean, abs=2e-3)
    assert parts_of_headline(results, "cirr", "combiner") == {}
