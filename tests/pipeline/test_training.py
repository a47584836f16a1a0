"""Models of every encoder and family are trained; tuned image encoders have their pictures encoded again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pytest

from cir_assets.components.graph import pipelines_of
from cir_assets.components.specification import DatasetSpec
from cir_assets.models.backbone import Backbone
from cir_assets.models.installation import EMBEDDED
from cir_assets.models.saving import load_text_encoder
from cir_assets.models.settings import BackboneSettings
from cir_assets.models.shape import backbone_shape
from cir_assets.pictures.preparing import preprocessing_name
from cir_assets.pipeline.step import Work, run
from cir_assets.pipeline.whole import steps_of
from cir_assets.store.feature_cache import FeatureCache
from cir_assets.store.layout import Storage
from cir_assets.training import fitting
from tests.models.families import write_family
from tests.pipeline.conftest import CAPTIONS
from tests.trial_project import QUICK_RECIPE, TrialProject, metadata_of

STAGE_1: dict[str, Any] = {"learning_rate": 1.0e-4, "batch_size": 32, "epochs": 2}


def test_with_both_encoders_trained_pictures_are_encoded_again_and_ranked_by_it(
    project: TrialProject, instance: dg.DagsterInstance, catalogue: dict[str, str]
) -> None:
    recipe = {**QUICK_RECIPE, "text_encoder": {**STAGE_1, "encoder": "both"}}
    recipe["combiner"] = {"learning_rate": 2.0e-4, "batch_size": 32, "epochs": 2}
    project.write_dataset("shop", source=catalogue, recipes={"both": recipe})
    result = project.materialize(instance, 'key:"shop/*"', 'key:"leaderboard"')
    assert result.success
    assert metadata_of(result, "shop/tiny_clip/both/image_features")["encoded"] == 120
    folder = next(
        path
        for path in project.storage.models("shop", "tiny_clip", "both", "text_encoder").iterdir()
        if path.name != "checkpoints"
    )
    assert (folder / "image_encoder.safetensors").is_file()
    tuned = Backbone.load(EMBEDDED / "tiny_clip")
    untuned = tuned.encode_images(np.full((1, 64, 64, 3), 99, np.uint8))
    load_text_encoder(folder, tuned)
    assert (tuned.encode_images(np.full((1, 64, 64, 3), 99, np.uint8)) - untuned).abs().max() > 1e-3
    cache = FeatureCache(project.storage.tuned_features("shop", "tiny_clip", "both"))
    version = project.entry("shop/tiny_clip/both/text_encoder").data_version
    with duckdb.connect(str(cache.path), read_only=True) as connection:
        [(keys, backbones)] = connection.sql(
            "SELECT count(*), list(DISTINCT backbone) FROM image_features"
        ).fetchall()
    assert (keys, backbones) == (120, [version])
    assert (
        preprocessing_name(64, "targetpad", 1.25, "as_seen")
        == metadata_of(result, "shop/tiny_clip/both/image_features")["preprocessing"]
    )
    again = project.materialize(instance, 'key:"shop/*"')
    for step in ("text_encoder", "image_features", "combiner", "evaluation"):
        assert metadata_of(again, f"shop/tiny_clip/both/{step}")["reused"] is True


def test_the_image_encoder_alone_may_be_trained(
    project: TrialProject, instance: dg.DagsterInstance, catalogue: dict[str, str]
) -> None:
    recipe = {**QUICK_RECIPE, "text_encoder": {**STAGE_1, "epochs": 1, "encoder": "image"}}
    project.write_dataset("shop", source=catalogue, recipes={"image": recipe})
    assert project.materialize(
        instance,
        *(f'key:"shop/{step}"' for step in ("raw", "images", "triplets", "tiny_clip/image_features")),
        'key:"shop/tiny_clip/image/text_encoder"',
    ).success
    [folder] = [
        path
        for path in project.storage.models("shop", "tiny_clip", "image", "text_encoder").iterdir()
        if path.name != "checkpoints"
    ]
    own, tuned = Backbone.load(EMBEDDED / "tiny_clip"), Backbone.load(EMBEDDED / "tiny_clip")
    load_text_encoder(folder, tuned)
    assert (own.text_features(list(CAPTIONS)) - tuned.text_features(list(CAPTIONS))).abs().max() <= 1e-6


@pytest.mark.parametrize("family", ["siglip", "siglip2", "metaclip_2"])
def test_another_family_of_backbones_goes_through_both_stages(
    project: TrialProject,
    instance: dg.DagsterInstance,
    catalogue: dict[str, str],
    family: str,
    tmp_path: Path,
) -> None:
    folder = write_family(family, tmp_path / family)
    project.write_backbones({"other": {"kind": "folder", "place": str(folder)}})
    stage = {"learning_rate": 1.0e-3, "batch_size": 32, "epochs": 4, "logit_scale": 10}
    recipe = {"text_encoder": stage, "combiner": {**stage, "epochs": 8, "dropout": 0.0}}
    project.write_dataset("shop", source=catalogue, backbones=["other"], recipes={"r": recipe})
    result = project.materialize(instance, 'key:"shop/*"')
    assert result.success
    assert (
        metadata_of(result, "shop/other/image_features")["dimension"]
        == backbone_shape(folder).feature_dimension
    )
    [saved] = [
        path
        for path in project.storage.models("shop", "other", "r", "text_encoder").iterdir()
        if path.name != "checkpoints"
    ]
    backbone = Backbone.load(folder)
    before = backbone.text_features(list(CAPTIONS))
    load_text_encoder(saved, backbone)
    assert (backbone.text_features(list(CAPTIONS)) - before).abs().max() > 1e-5


def test_a_recipe_that_fits_itself_trains_each_stage_both_ways_and_says_which_it_kept(
    catalogue: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "MOST_EPOCHS", 2)
    spec = DatasetSpec.model_validate(
        {"source": catalogue, "backbones": ["tiny_clip"], "decoding_workers": 0, "recipes": {"auto": "auto"}}
    )
    tiny_clip = BackboneSettings(kind="embedded", place="tiny_clip")
    [pipeline] = pipelines_of("shop", spec, {"tiny_clip": tiny_clip})
    work = Work(Storage(folder=str(tmp_path / "storage")))
    steps = {step.name: step for step in steps_of([pipeline])}
    until = list(steps).index(pipeline.name("evaluation")) + 1
    made = {name: run(step, work)[0] for name, step in list(steps.items())[:until]}
    for model in pipeline.models:
        metadata = made[pipeline.name(model)].metadata
        figures = re.findall(r": ([\d.]+)", metadata["because"].partition("on val ")[2])
        chosen = metadata["chosen"]
        assert (chosen["batch_size"], chosen["epochs"], metadata["epochs"]) == (16, 2, 2)
        of_both = dict(zip(("batch", "gallery"), map(float, figures), strict=True))
        assert metadata["headline_on_val"] == pytest.approx(of_both[chosen["negatives"]], abs=0.01)
    assert made[pipeline.name("evaluation")].metadata["served_method"] in pipeline.methods
    assert all(run(steps[pipeline.name(model)], work)[1] for model in pipeline.models)
