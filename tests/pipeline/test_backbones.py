"""What lies under a backbone's name is what the YAML names; a change of either is installed or refused, never used."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from safetensors.torch import load_file, save_file

from cir_assets.models.files import BrokenModel, weights_digest
from tests.models.families import write_family
from tests.random_pictures import picture_bytes
from tests.trial_project import TrialProject, metadata_of

STEPS = ('key:"shop/raw"', 'key:"shop/images"', 'key:"shop/triplets"')
FEATURES = 'key:"shop/mine/image_features"'


@pytest.fixture
def shop(project: TrialProject, tmp_path: Path) -> TrialProject:
    """Four pictures and two triplets under a backbone that is a folder of one's own."""
    write_family("clip", tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    other(tmp_path / "b")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(4):
        (pictures / f"p{number}.jpg").write_bytes(picture_bytes(f"p{number}"))
    rows = ["p0.jpg,p1.jpg,is red,train", "p1.jpg,p0.jpg,is blue,train", "p2.jpg,p3.jpg,is blue,val"]
    (tmp_path / "t.csv").write_text("\n".join(["reference,target,caption,split", *rows]))
    names(project, tmp_path / "a")
    source = {"kind": "catalogue", "pictures": str(pictures), "triplets": str(tmp_path / "t.csv")}
    stage = {"learning_rate": 1.0e-4, "batch_size": 2, "epochs": 1}
    recipes = {"quick": {"text_encoder": stage, "combiner": stage}}
    project.write_dataset("shop", source=source, backbones=["mine"], recipes=recipes, decoding_workers=0)
    return project


def other(folder: Path) -> None:
    """Other weights of the same form."""
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: value + 0.1 for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )


def names(project: TrialProject, place: Path, **more: Any) -> None:
    project.write_backbones({"mine": {"kind": "folder", "place": str(place), **more}})


def installed(project: TrialProject) -> str:
    return weights_digest(project.storage.backbone("mine"))


def test_another_place_under_a_known_name_is_installed_anew(
    shop: TrialProject, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    shop.materialize(instance, *STEPS, FEATURES)
    assert installed(shop) == weights_digest(tmp_path / "a")
    names(shop, tmp_path / "b")
    result = shop.materialize(instance, FEATURES)
    assert installed(shop) == shop.entry("backbones/mine").data_version == weights_digest(tmp_path / "b")
    assert metadata_of(result, "shop/mine/image_features")["encoded"] == 4


def test_a_folder_whose_bytes_changed_is_installed_anew_and_one_that_is_gone_is_not(
    shop: TrialProject, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    shop.materialize(instance, *STEPS, FEATURES)
    before = installed(shop)
    assert metadata_of(shop.materialize(instance, FEATURES), "shop/mine/image_features")["reused"] is True
    other(tmp_path / "a")
    shop.materialize(instance, FEATURES)
    after = installed(shop)
    assert before != after == weights_digest(tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    assert metadata_of(shop.materialize(instance, FEATURES), "shop/mine/image_features")["reused"] is True
    assert installed(shop) == after


def test_a_step_that_does_not_install_refuses_another_model_under_the_name(
    shop: TrialProject, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    shop.materialize(instance, *STEPS, FEATURES)
    names(shop, tmp_path / "b")
    with pytest.raises(
        BrokenModel, match=r"other settings than the YAML has now for mine; materialize backbones/mine"
    ):
        shop.materialize(instance, 'key:"shop/mine/quick/combiner_frozen_clip"')
    names(shop, tmp_path / "a")
    other(shop.storage.backbone("mine"))
    with pytest.raises(
        BrokenModel, match=r"does not hold the files that were installed.*materialize backbones/mine"
    ):
        shop.materialize(instance, 'key:"shop/mine/quick/combiner_frozen_clip"')


def test_half_a_download_fails_the_backbone_before_anything_is_encoded(
    shop: TrialProject, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    file = tmp_path / "a" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:10_000])
    with pytest.raises(
        BrokenModel, match=r"model\.safetensors \(10,000 bytes\) is no whole safetensors file"
    ):
        shop.materialize(instance, 'key:"backbones/mine"')
    assert not shop.storage.backbone("mine").exists()


def test_a_trained_model_with_changed_weights_is_refused_by_what_reads_it(
    shop: TrialProject, instance: dg.DagsterInstance
) -> None:
    text_encoder = "shop/mine/quick/text_encoder"
    shop.materialize(instance, *STEPS, FEATURES, f'key:"{text_encoder}"')
    folder = shop.storage.models(*text_encoder.split("/")) / shop.entry(text_encoder).fingerprint
    other(folder)
    # As with a model saved before its version was written beside it: the ledger alone knows.
    (folder / "config.json").unlink()
    with pytest.raises(dg.Failure, match=f"what {text_encoder} made in .* was changed since; make it again"):
        shop.materialize(instance, 'key:"shop/mine/quick/combiner"')
