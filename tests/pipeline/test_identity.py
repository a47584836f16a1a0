"""What a pipeline is called and made of, by the kind of models it has."""

from __future__ import annotations

from dataclasses import replace

from cir_assets.models.settings import ModelsOf, ReferenceCheckpoints, ZeroShot
from cir_assets.models.stages import MODELS
from cir_assets.pipeline.identity import backbone_name
from cir_assets.retrieval.methods import METHODS, SPHERICAL
from tests.pipeline.conftest import ByHand


def test_a_pipeline_that_trains_has_every_method_and_serves_the_combiner(by_hand: ByHand) -> None:
    pipeline = by_hand.pipeline
    assert pipeline.place == pipeline.models_place == ("shop", "tiny_clip", "quick")
    assert pipeline.methods == tuple(METHODS)
    assert (pipeline.models, pipeline.served_method) == (MODELS, "combiner")
    assert pipeline.ranked_from() == [
        "shop/triplets",
        "shop/tiny_clip/image_features",
        *(f"shop/tiny_clip/quick/{model}" for model in MODELS),
    ]
    assert backbone_name("tiny_clip") == "backbones/tiny_clip"


def test_models_of_another_data_set_keep_their_own_place(by_hand: ByHand) -> None:
    pipeline = replace(by_hand.pipeline, recipe=ModelsOf(dataset="other", recipe="paper"))
    assert pipeline.name("evaluation") == "shop/tiny_clip/quick/evaluation"
    assert pipeline.model_name("combiner") == "other/tiny_clip/paper/combiner"


def test_checkpoints_give_the_methods_their_files_suffice_for(by_hand: ByHand) -> None:
    one = replace(by_hand.pipeline, recipe=ReferenceCheckpoints(combiner_frozen_clip="c.pt"))
    assert one.models == ("combiner_frozen_clip",)
    assert "combiner_frozen_clip" in one.methods
    assert "combiner" not in one.methods
    tuned = replace(by_hand.pipeline, recipe=ReferenceCheckpoints(text_encoder="t.pt", encoder="both"))
    assert tuned.tunes_images
    assert tuned.features() == ["shop/tiny_clip/image_features", "shop/tiny_clip/quick/image_features"]


def test_without_models_clip_searches_as_it_came(by_hand: ByHand) -> None:
    pipeline = replace(by_hand.pipeline, recipe=ZeroShot())
    assert pipeline.models == ()
    assert pipeline.served_method == SPHERICAL.name
