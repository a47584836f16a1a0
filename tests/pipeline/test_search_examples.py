"""What an export offers to be tried: a shop window, with one honest failure, and words people use."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from cir_assets.models.backbone import Backbone
from cir_assets.models.installation import EMBEDDED
from cir_assets.pipeline.inputs import PipelineInputs
from cir_assets.pipeline.searching import EXAMPLES, example_queries, is_well_worded, suggested_words
from cir_assets.retrieval.methods import ZERO_SHOT
from cir_assets.retrieval.ranking import top_k, unit_length

COLOURS = ("red", "blue", "green", "teal", "black", "white", "pink", "grey", "brown", "orange")
PICTURES = 80


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone.load(EMBEDDED / "tiny_clip")


@pytest.fixture(scope="module")
def inputs(backbone: Backbone) -> PipelineInputs:
    """Random pictures in two categories; of every second query the target is the picture that is found first."""
    features = torch.from_numpy(
        np.random.default_rng(0).standard_normal((PICTURES, backbone.feature_dimension))
    )
    features = features.float()
    captions = [
        [f"is {COLOURS[number % 10]}", f"has {COLOURS[number // 2 % 9]} dots"] for number in range(40)
    ]
    joined = [f"{first.capitalize()} and {second}" for first, second in captions]
    queries, _ = ZERO_SHOT.compose(features[:40], backbone.text_features(joined), {})
    categories = ["dress", "shirt"] * (PICTURES // 2)
    targets = []
    for number in range(40):
        same = torch.tensor([row for row in range(PICTURES) if row % 2 == number % 2])
        own = np.flatnonzero(same.numpy() == number)
        order, _ = top_k(queries[number][None], unit_length(features[same]), 39, own)
        targets.append(int(same[order[0, 0 if number % 4 < 2 else 38]]))
    images = [f"P{row}" for row in range(PICTURES)]
    triplets = pl.DataFrame(
        {
            "triplet_id": [f"val-{number}" for number in range(40)],
            "split": "val",
            "category": categories[:40],
            "reference": images[:40],
            "target": [images[row] for row in targets],
            "captions": captions,
        }
    )
    return PipelineInputs(
        galleries=pl.DataFrame({"split": "val", "category": categories, "image": images}),
        triplets=triplets,
        feature_images=pl.DataFrame({"image": images, "image_key": images}),
        features=features,
    )


def test_examples_are_short_well_worded_and_found_and_the_last_of_them_is_not(
    inputs: PipelineInputs, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cir_assets.pipeline.searching.FAILED_FROM_RANK", 30)
    examples = example_queries(inputs, backbone, ZERO_SHOT, {})
    assert examples.height == EXAMPLES
    assert examples["rank"][:-1].to_list() == [1] * (EXAMPLES - 1)
    assert examples["rank"][-1] == 39
    assert set(examples["category"]) == {"dress", "shirt"}
    assert all(is_well_worded(caption) for caption in examples["caption"])
    assert examples["reference"].n_unique() == EXAMPLES


def test_without_a_query_there_is_no_example(inputs: PipelineInputs, backbone: Backbone) -> None:
    none = PipelineInputs(inputs.galleries, inputs.triplets.clear(), inputs.feature_images, inputs.features)
    assert example_queries(none, backbone, ZERO_SHOT, {}).is_empty()
    assert suggested_words(none.triplets).is_empty()


@pytest.mark.parametrize(
    ("caption", "good"),
    [
        ("Is red and has longer sleeves", True),
        ("Has teal checks and has teal checks and is black in color", False),
        ("red", False),
        ("2 . ,", False),
        ("is " + "very " * 12 + "red", False),
    ],
)
def test_a_caption_that_repeats_itself_or_says_nothing_is_not_well_worded(caption: str, good: bool) -> None:
    assert is_well_worded(caption) is good


def test_suggestions_are_the_commonest_short_captions_each_said_once() -> None:
    captions = [
        ["is red"],
        ["is red."],
        ["Is red", "has dots"],
        ["it is red"],
        ["has dots"],
        ["n/a"],
        ["blue"],
    ]
    triplets = pl.DataFrame(
        {"split": "train", "category": ["dress"] * 4 + ["shirt"] * 3, "captions": captions}
    ).vstack(pl.DataFrame({"split": ["val"], "category": ["dress"], "captions": [["is green"]]}))
    suggested = suggested_words(triplets)
    of = dict(suggested.group_by("category").agg("caption").iter_rows())
    assert of == {None: ["is red", "has dots"], "dress": ["is red", "has dots"], "shirt": ["has dots"]}
    assert suggested.filter(pl.col("category").is_null())["times"].to_list() == [3, 2]
