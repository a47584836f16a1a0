"""Tuned image encoders are cached again, published checkpoints are evaluated, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import duckdb
import pytest
import torch

from cir_assets.components.loading import InvalidDefinition
from cir_assets.models.backbone import Backbone
from cir_assets.models.combiner import Combiner
from cir_assets.models.installation import EMBEDDED
from cir_assets.retrieval.methods import METHODS
from tests.models.test_reference_checkpoints import as_openai
from tests.trial_project import TrialProject, metadata_of


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
    result = project.materialize(instance, 'key:"shop/*"', 'key:"leaderboard"')
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
    result = project.materialize(instance, 'key:"shop/*"')
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
