"""What training and evaluation read of a data set: rows that fit each other, and versions no finer than needed."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from cir_assets.models.stages import MODELS, TEXT_ENCODER
from cir_assets.pipeline.inputs import (
    PipelineInputs,
    load_backbone,
    load_inputs,
    model_folder,
    newest_models,
    picture_files,
)
from tests.pipeline.conftest import ByHand


@pytest.fixture(scope="module")
def inputs(by_hand: ByHand) -> PipelineInputs:
    encoded = by_hand.pipeline.encoded
    return load_inputs(by_hand.work, encoded, load_backbone(by_hand.work, encoded))


def test_a_triplet_to_train_on_is_rows_of_the_features_of_its_pictures(inputs: PipelineInputs) -> None:
    train = inputs.training_triplets()
    images = inputs.feature_images["image"]
    assert inputs.features.shape == (48, 128)
    rows = inputs.triplets.filter(split="train").select("reference", "target").rows()
    found = zip(images.gather(train.reference), images.gather(train.target), strict=True)
    assert list(found) == rows
    assert train.gallery is not None
    assert sorted(images.gather(train.gallery)) == sorted({image for row in rows for image in row})


def test_without_a_triplet_to_train_on_it_says_where_to_look(inputs: PipelineInputs) -> None:
    nothing = replace(inputs, triplets=inputs.triplets.filter(split="val"))
    with pytest.raises(ValueError, match="the train split is empty, or none of its pictures decode"):
        nothing.training_triplets()


def test_what_a_training_sees_changes_with_its_own_splits_alone(inputs: PipelineInputs) -> None:
    def edited(split: str) -> PipelineInputs:
        said = pl.when(split=split).then(pl.lit(["is green"])).otherwise("captions")
        return replace(inputs, triplets=inputs.triplets.with_columns(captions=said))

    assert inputs.splits_with_targets() == ["val", "test"]
    before = inputs.content_of_splits("train", "val")
    assert edited("test").content_of_splits("train", "val") == before
    assert edited("train").content_of_splits("train", "val") != before


def test_pictures_are_files_in_the_order_of_the_rows(by_hand: ByHand, inputs: PipelineInputs) -> None:
    files = picture_files(by_hand.work, by_hand.pipeline.encoded, inputs)
    assert [file.name for file in files.paths] == inputs.feature_images["image"].to_list()
    assert all(file.is_file() for file in files.paths)


def test_the_newest_version_of_a_model_is_found_and_one_never_made_is_named(by_hand: ByHand) -> None:
    newest = newest_models(by_hand.work, by_hand.pipeline, MODELS)
    assert all((folder / "config.json").is_file() for folder in newest.values())
    other = replace(by_hand.pipeline, recipe_name="other")
    with pytest.raises(FileNotFoundError, match="shop/tiny_clip/other/text_encoder has no model in"):
        model_folder(by_hand.work, other, TEXT_ENCODER)
