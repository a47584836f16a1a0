"""The common form refuses what does not hold together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cir_assets.datasets.tables import (
    DATA_ISSUES,
    GALLERIES,
    IMAGES,
    PICTURES,
    TRIPLETS,
    Annotations,
    empty,
    frame,
    named_pictures,
    overlap_issues,
)
from cir_assets.store.contracts import Table, checked

TRIPLET = {
    "triplet_id": "0",
    "split": "val",
    "category": "all",
    "reference": "a",
    "target": "b",
    "captions": ["bluer"],
    "further_targets": ["c"],
    "set_id": "s",
    "set_members": ["a", "b", "d"],
}


def annotated(images: str = "abcd", triplets: list[dict[str, Any]] | None = None) -> Annotations:
    return Annotations(
        pictures=frame(PICTURES, [{"image": image, "path": f"{image}.png"} for image in images]),
        galleries=frame(
            GALLERIES, [{"split": "val", "category": "all", "position": 0, "image": image} for image in "ab"]
        ),
        triplets=frame(TRIPLETS, [TRIPLET] if triplets is None else triplets),
        issues=empty(DATA_ISSUES),
        picture_root=Path(),
    )


def test_annotations_that_hold_together_are_accepted() -> None:
    accepted = annotated()
    assert named_pictures(accepted.galleries, accepted.triplets) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("missing", "column"),
    [
        ("a", "galleries.image"),
        ("c", "triplets.further_targets"),
        ("d", "triplets.set_members"),
    ],
)
def test_every_picture_that_is_used_must_be_named(missing: str, column: str) -> None:
    with pytest.raises(ValueError, match=f"{column}: '{missing}' is not among the pictures"):
        annotated("abcd".replace(missing, ""))


def test_triplet_ids_are_unique_in_their_split_only() -> None:
    assert annotated(triplets=[TRIPLET, {**TRIPLET, "split": "test"}]).triplets.height == 2
    with pytest.raises(ValueError, match="triplets: split, triplet_id must name one row"):
        annotated(triplets=[TRIPLET, TRIPLET])


def test_a_picture_is_named_once() -> None:
    with pytest.raises(ValueError, match="pictures: image must name one row"):
        annotated("abcda")


@pytest.mark.parametrize("table", [PICTURES, IMAGES, GALLERIES, TRIPLETS, DATA_ISSUES])
def test_an_empty_frame_is_of_its_schema(table: Table) -> None:
    assert checked(empty(table), table).height == 0


def test_a_frame_of_another_form_is_refused_by_column() -> None:
    with pytest.raises(ValueError, match="pictures: column path must be String, found no such column"):
        checked(pl.DataFrame({"image": ["a"]}), PICTURES)
    with pytest.raises(ValueError, match="galleries: column position must be Int32, found Int64"):
        checked(empty(GALLERIES).cast({"position": pl.Int64}), GALLERIES)
    with pytest.raises(ValueError, match="expected the columns"):
        checked(empty(PICTURES).with_columns(extra=pl.lit(1)), PICTURES)


def test_nulls_stand_only_where_they_mean_something() -> None:
    secret = frame(TRIPLETS, [{**TRIPLET, "target": None, "set_id": None, "set_members": None}])
    assert checked(secret, TRIPLETS).height == 1
    with pytest.raises(ValueError, match="column reference has 1 empty values"):
        checked(frame(TRIPLETS, [{**TRIPLET, "reference": None}]), TRIPLETS)
    with pytest.raises(ValueError, match="split is 'dev', expected one of train, val, test"):
        checked(frame(TRIPLETS, [{**TRIPLET, "split": "dev"}]), TRIPLETS)


def test_pictures_in_several_splits_are_told_with_their_places() -> None:
    places = [("train", "shirt", "a"), ("val", "toptee", "a"), ("val", "shirt", "b"), ("test", "shirt", "b")]
    places += [("val", "dress", "c"), ("val", "shirt", "c")]
    galleries = frame(
        GALLERIES,
        [{"split": s, "category": c, "position": 0, "image": image} for s, c, image in places],
    )
    assert list(overlap_issues(galleries)) == [
        {"kind": "cross_split_leakage", "subject": "a", "detail": "in train of shirt, in val of toptee"},
        {"kind": "val_test_overlap", "subject": "b", "detail": "in val of shirt, in test of shirt"},
    ]
