"""A change is felt by what depends on it, and by nothing else; what it costs follows its size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from unittest import mock

import polars as pl
import pytest

from tests.changes import CHANGES, EVALUATED, Change, Shop, another_backbone, fresh_shop
from tests.trial_project import metadata_of


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """One shop all changes are made to, in the order of the table."""
    with fresh_shop() as made:
        yield made


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_change_makes_what_depends_on_it_and_nothing_else(shop: Shop, change: Change) -> None:
    change.apply(shop)
    ran = shop.settle(*(["shop/raw"] if change.refresh else []))
    assert not ran.failed
    assert ran.made == change.made
    assert ran.same == change.same
    assert ran.twice == change.twice
    assert (ran.encoded, ran.already_known) == (change.encoded, change.already_known)
    assert ran.captions == Counter(change.captions)
    assert shop.tick() == []


def test_what_is_taken_from_before_says_that_no_work_was_done(shop: Shop) -> None:
    steps = {step: f"shop/tiny_clip/{step}" for step in ("image_features", "quick/combiner")}
    result = shop.project.materialize(shop.instance, *(f'key:"{name}"' for name in steps.values()))
    features, combiner = (metadata_of(result, name) for name in steps.values())
    assert features["reused"] is combiner["reused"] is True
    assert (features["encoded"], features["already_known"]) == (0, 200)
    assert (combiner["captions_encoded"], combiner["captions_known"]) == (0, 161)
    assert combiner["training_seconds"] == 0
    assert combiner["epochs"] == 2


def test_what_is_on_disk_is_what_there_is_now_also_when_a_change_was_taken_back(shop: Shop) -> None:
    images = pl.read_parquet(shop.project.storage.tables("shop") / "images.parquet")
    assert set(images["image"]) == {file.name for file in shop.pictures.iterdir()}
    triplets = pl.read_parquet(shop.project.storage.tables("shop") / "triplets.parquet")
    assert triplets.height == len(shop.table.read_text().splitlines()) - 1


def test_a_steps_code_generation_makes_it_and_what_follows_again(shop: Shop) -> None:
    with mock.patch("cir_assets.pipeline.evaluation.GENERATION", 99):
        ran = shop.settle()
        assert ran.made == EVALUATED - {"challenger"}
        assert not ran.same
        assert not ran.twice
    shop.settle()


def test_another_backbone_makes_its_own_steps_and_touches_no_others(shop: Shop) -> None:
    another_backbone(shop)
    ran = shop.settle("backbones/other")
    assert {name for name in ran.made if not name.startswith("other/")} == {"backbones/other", "leaderboard"}
    assert {name.removeprefix("other/") for name in ran.made if name.startswith("other/")} == {
        "image_features",
        "text_encoder",
        "combiner_frozen_clip",
        "combiner",
        "champion",
        "search",
        *(EVALUATED - {"leaderboard"}),
    }
    assert not ran.same
    assert not ran.twice
    assert ran.encoded == len(list(shop.pictures.iterdir()))


def test_nothing_happens_while_nothing_changes(shop: Shop) -> None:
    assert shop.idle(5) == []
