"""Tuned image encoders are cached again, published checkpoints are evaluated, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pytest
import torch

from cir_assets.components.loading import InvalidDefinition
from cir_assets.models.backbone import Backbone
from cir_assets.models.combiner import Combiner
from cir_assets.models.installation import EMBEDDED
from cir_assets.models.saving import load_text_encoder
from cir_assets.models.shape import backbone_shape
from cir_assets.pictures.preparing import preprocessing_name
from cir_assets.retrieval.methods import METHODS
from cir_assets.store.feature_cache import FeatureCache
from tests.models.families import write_family
from tests.models.test_reference_checkpoints import as_openai
from tests.random_pictures import picture_bytes
from tests.trial_project import QUICK_RECIPE, TrialProject, metadata_of

STAGE_1: dict[str, Any] = {"learning_rate": 1.0e-4, "batch_size": 32, "epochs": 2}
CAPTIONS = ("is red", "has longer sleeves", "is blue and dotted", "with a belt")


@pytest.fixture
def catalogue(tmp_path: Path) -> dict[str, str]:
    """A hundred and twenty pictures and as many triplets, of all three splits."""
    folder = tmp_path / "catalogue"
    folder.mkdir()
    rows = ["reference,target,caption,split"]
    for split, count in (("train", 80), ("val", 20), ("test", 20)):
        names = [f"{split}{number:03d}.jpg" for number in range(count)]
        for number, name in enumerate(names):
            (folder / name).write_bytes(picture_bytes(name))
            rows.append(f"{name},{names[number - 1]},{CAPTIONS[number % 4]},{split}")
    (tmp_path / "triplets.csv").write_text("\n".join(rows) + "\n")
    return {"kind": "catalogue", "pictures": str(folder), "triplets": str(tmp_path / "triplets.csv")}


def test_with_both_encoders_trained_pictures_are_encoded_again_and_ranked_by_it(
    project: TrialProject, instance: dg.DagsterInstance, catalogue: dict[str, str]
) -> None:
    recipe = {**QUICK_RECIPE, "text_encoder": {**STAGE_1, "encoder": "both"}}
    recipe["combiner"] = {"learning_rate": 2.0e-4, "batch_size": 32, "epochs": 2}
    project.write_dataset("shop", source=catalogue, recipes={"both": recipe})
    result = project.materialize(instance, 'group:"shop"', 'key:"leaderboard"')
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
    again = project.materialize(instance, 'group:"shop"')
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
    result = project.materialize(instance, 'group:"shop"')
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


@pytest.fixture
def checkpoints(tmp_path: Path) -> dict[str, str]:
    """Files as the reference implementation writes them, of an encoder tuned from the embedded backbone."""
    backbone = Backbone.load(EMBEDDED / "tiny_clip")
    with torch.no_grad():
        for parameter in backbone.text_parameters():
            parameter.mul_(1.01)
    torch.save({"epoch": 3, "CLIP": as_openai(backbone)}, tmp_path / "clip.pt")
    torch.manual_seed(0)
    torch.save({"epoch": 9, "Combiner": Combiner(128, 256, 512).state_dict()}, tmp_path / "combiner.pt")
    return {"text_encoder": str(tmp_path / "clip.pt"), "combiner": str(tmp_path / "combiner.pt")}


def test_published_checkpoints_are_evaluated_without_training(
    project: TrialProject,
    instance: dg.DagsterInstance,
    catalogue: dict[str, str],
    checkpoints: dict[str, str],
) -> None:
    project.write_dataset("shop", source=catalogue, checkpoints={"published": checkpoints})
    result = project.materialize(instance, 'group:"shop"', 'key:"leaderboard"')
    assert result.success
    assert metadata_of(result, "shop/tiny_clip/published/text_encoder")["epoch"] == 3
    assert metadata_of(result, "shop/tiny_clip/published/combiner")["epoch"] == 9
    with duckdb.connect(str(project.storage.evaluation), read_only=True) as published:
        methods = published.sql(
            "SELECT list(DISTINCT method ORDER BY method), list(DISTINCT models_from) FROM evaluations"
        ).fetchall()
        assert methods == [
            (
                sorted(METHODS.keys() - {"combiner_frozen_clip"}),
                ["published checkpoints"],
            )
        ]
        assert published.sql("SELECT count(*) FROM training_epochs").fetchall() == [(0,)]
    assert (project.storage.report("shop", "tiny_clip", "published") / "index.html").is_file()


def test_a_checkpoint_that_does_not_fit_says_which_backbone_it_wants(
    project: TrialProject,
    instance: dg.DagsterInstance,
    catalogue: dict[str, str],
    checkpoints: dict[str, str],
    tmp_path: Path,
) -> None:
    torch.save({"epoch": 9, "Combiner": Combiner(640, 8, 8).state_dict()}, tmp_path / "rn50x4.pt")
    wrong = {**checkpoints, "combiner": str(tmp_path / "rn50x4.pt")}
    project.write_dataset("shop", source=catalogue, checkpoints={"published": wrong})
    with pytest.raises(
        Exception, match=r"dimension 640, but the backbone tiny_clip gives 128.*RN50x4 gives 640"
    ):
        project.materialize(instance, 'key:"shop/tiny_clip/published/combiner"')
    absent = {**checkpoints, "combiner": str(tmp_path / "none.pt")}
    project.write_dataset("shop", source=catalogue, checkpoints={"published": absent})
    with pytest.raises(Exception, match=r"checkpoints\.published\.combiner .*none\.pt is no file: fetch"):
        project.materialize(instance, 'key:"shop/tiny_clip/published/combiner"')


def test_a_checkpoint_with_a_tuned_image_encoder_asks_for_features_of_its_own(
    project: TrialProject, instance: dg.DagsterInstance, catalogue: dict[str, str], tmp_path: Path
) -> None:
    backbone = Backbone.load(EMBEDDED / "tiny_clip")
    with torch.no_grad():
        for parameter in [*backbone.text_parameters(), *backbone.image_parameters()]:
            parameter.mul_(1.05)
    torch.save({"epoch": 3, "CLIP": as_openai(backbone)}, tmp_path / "clip.pt")
    file = {"text_encoder": str(tmp_path / "clip.pt")}
    project.write_dataset("shop", source=catalogue, checkpoints={"tomm": file})
    with pytest.raises(Exception, match=r"say encoder: both under checkpoints\.tomm"):
        project.materialize(instance, 'key:"shop/tiny_clip/tomm/text_encoder"')
    project.write_dataset("shop", source=catalogue, checkpoints={"tomm": {**file, "encoder": "both"}})
    result = project.materialize(instance, 'group:"shop"')
    assert result.success
    assert metadata_of(result, "shop/tiny_clip/tomm/image_features")["encoded"] == 120


def test_models_nobody_trains_are_refused_by_file_line_and_name(
    project: TrialProject, catalogue: dict[str, str]
) -> None:
    project.write_dataset("wardrobe", source={"kind": "wardrobe", "size": 1_000, "seed": 1})
    project.write_dataset(
        "shop", source=catalogue, models_of={"other": {"dataset": "wardrobe", "recipe": "none"}}
    )
    with pytest.raises(
        InvalidDefinition,
        match=r"shop/defs\.yaml:\d+: models_of\.other wants the models of wardrobe/tiny_clip/none.*"
        r"there are wardrobe/tiny_clip/quick",
    ):
        project.definitions()
    project.write_dataset(
        "shop",
        source=catalogue,
        models_of={"other": {"dataset": "wardrobe", "recipe": "quick", "encoder": "both"}},
    )
    with pytest.raises(InvalidDefinition, match="trains encoder: text; say encoder: text here too"):
        project.definitions()
