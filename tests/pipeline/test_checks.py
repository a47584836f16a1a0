"""What must hold of what a step made: each check passes on sound data and says what is wrong otherwise."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from cir_assets.pipeline.checks import (
    captions_present,
    evaluation_complete,
    features_finite,
    ladder_in_order,
    ladder_order,
    loss_falling,
    pictures_kept,
    pictures_readable,
    splits_disjoint,
    triplet_pictures_present,
)
from cir_assets.pipeline.holding import Loss

NO_ISSUES = pl.DataFrame(schema={"kind": pl.String, "subject": pl.String, "detail": pl.String})
IMAGES = pl.DataFrame({"image": ["a", "b", "c"], "image_key": ["1", "2", "2"]})


def galleries(**pictures: list[str]) -> pl.DataFrame:
    return pl.DataFrame(
        [{"split": split, "image": image} for split, images in pictures.items() for image in images]
    )


def test_missing_and_broken_pictures_are_counted_by_kind() -> None:
    issues = pl.DataFrame(
        {
            "kind": ["missing_picture", "unreadable_picture", "no_caption"],
            "subject": ["x"] * 3,
            "detail": ["y"] * 3,
        }
    )
    assert pictures_readable(IMAGES, NO_ISSUES).passed
    check = pictures_readable(IMAGES, issues)
    assert not check.passed
    assert "1 missing picture, 1 unreadable picture" in check.description


def test_an_exact_copy_in_another_split_is_found_by_content() -> None:
    assert splits_disjoint(IMAGES, galleries(train=["a"], val=["b", "c"])).passed
    assert not splits_disjoint(IMAGES, galleries(train=["b"], test=["c"])).passed


def test_val_and_test_may_share_what_train_does_not_see() -> None:
    assert splits_disjoint(IMAGES, galleries(train=["a"], val=["b"], test=["c"])).passed


def test_triplets_left_out_are_told_with_their_share() -> None:
    dropped = pl.DataFrame({"kind": ["triplet_without_picture"], "subject": ["t"], "detail": ["-"]})
    check = triplet_pictures_present(pl.DataFrame({"triplet_id": ["u", "v", "w"]}), dropped)
    assert not check.passed
    assert "1 of 4 triplets" in check.description


def test_a_triplet_is_silent_only_when_all_its_captions_are_empty() -> None:
    assert captions_present(pl.DataFrame({"captions": [["", "is red"], ["is blue"]]})).passed
    assert not captions_present(pl.DataFrame({"captions": [["", "  "], ["is blue"]]})).passed


def test_a_loss_is_told_and_passes_up_to_the_share_or_where_a_person_accepted_it() -> None:
    loss = Loss(10, ("b.jpg", "a.jpg"), 100, 0)
    assert pictures_kept(loss, 0.2, "shop/raw", False).passed
    held = pictures_kept(loss, 0.19, "shop/raw", False)
    assert not held.passed
    assert "2 of 10 pictures (first: b.jpg, a.jpg) and 0 of 100 triplets are gone" in held.description
    assert pictures_kept(loss, 0.19, "shop/raw", True).passed
    assert not pictures_kept(Loss(10, (), 100, 21), 0.2, "shop/raw", False).passed
    assert pictures_kept(Loss(10, ("a.jpg",) * 10, 100, 100), 1, "shop/raw", False).passed
    assert pictures_kept(Loss(), 0, "shop/raw", False).passed


def test_features_must_be_finite_nonzero_and_of_the_backbones_dimension() -> None:
    sound = np.ones((3, 4), np.float32)
    assert features_finite(sound, 4).passed
    assert not features_finite(sound, 5).passed
    for broken in (np.nan, np.inf):
        spoilt = sound.copy()
        spoilt[1, 2] = broken
        assert not features_finite(spoilt, 4).passed
    assert not features_finite(np.vstack([sound, np.zeros((1, 4), np.float32)]), 4).passed
    assert not features_finite(np.empty((0, 4), np.float32), 4).passed


def test_the_loss_must_be_finite_and_fall() -> None:
    assert loss_falling([3.0, 2.0, 2.5]).passed
    assert not loss_falling([3.0, 3.5]).passed
    assert not loss_falling([3.0, math.nan]).passed


def test_the_ladder_is_out_of_order_when_a_trained_method_is_below_the_plain_sum() -> None:
    assert ladder_in_order({"sum": 40.0, "text_encoder_sum": 60.0, "combiner": 70.0}).passed
    assert not ladder_in_order({"sum": 40.0, "text_encoder_sum": 60.0, "combiner": 39.0}).passed
    assert not ladder_in_order({"sum": 40.0, "text_encoder_sum": 30.0, "combiner": 70.0}).passed


def test_the_order_asked_for_names_the_methods_there_are() -> None:
    whole = "On val neither the tuned sum nor the Combiner is below the zero-shot sum."
    assert ladder_order(["sum", "text_encoder_sum", "combiner_frozen_clip", "combiner"]) == whole
    assert ladder_order(["sum", "text_encoder_sum"]) == "On val the tuned sum is not below the zero-shot sum."
    assert "No method here stands on stage 1" in ladder_order(["sum", "combiner_frozen_clip"])


def test_an_evaluation_without_queries_is_not_complete() -> None:
    assert evaluation_complete(pl.DataFrame({"queries": [5, 5]}), 2).passed
    assert not evaluation_complete(pl.DataFrame({"queries": [5]}), 2).passed
    assert not evaluation_complete(pl.DataFrame({"queries": [5, 0]}), 2).passed
