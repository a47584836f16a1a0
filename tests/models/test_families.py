"""Every family of dual encoders loads through the same path, whatever its tokenizer, padding and pooling."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cir_assets.models.backbone import Backbone
from cir_assets.models.files import BrokenModel, weights_digest
from cir_assets.models.installation import install_backbone
from cir_assets.models.saving import load_text_encoder, save_text_encoder
from cir_assets.models.settings import BackboneSettings
from cir_assets.models.shape import backbone_shape
from tests.models.families import FAMILIES, write_family

CAPTIONS = ["is red with longer sleeves", "has no belt", "is red with longer sleeves", "", "darker " * 300]


@pytest.fixture(scope="module", params=FAMILIES)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_family(request.param, tmp_path_factory.mktemp("hub") / request.param)


@pytest.fixture
def installed(source: Path, tmp_path: Path) -> Path:
    install_backbone(BackboneSettings(kind="folder", place=str(source)), tmp_path / "installed")
    return tmp_path / "installed"


def test_it_is_installed_and_gives_features_of_one_dimension(installed: Path) -> None:
    backbone = Backbone.load(installed)
    pixels = np.random.default_rng(0).integers(
        0, 256, (3, backbone.resolution, backbone.resolution, 3), np.uint8
    )
    images, texts = backbone.encode_images(pixels), backbone.text_features(CAPTIONS)
    assert images.shape == (3, backbone.feature_dimension)
    assert texts.shape == (len(CAPTIONS), backbone.feature_dimension)
    assert torch.isfinite(images).all()
    assert torch.isfinite(texts).all()
    assert (images[0] - images[1]).abs().max() > 1e-4
    assert (texts[0] - texts[1]).abs().max() > 1e-4


def test_its_colours_are_those_of_its_own_preprocessing(source: Path, installed: Path) -> None:
    said = json.loads((source / "preprocessor_config.json").read_text())
    shape = backbone_shape(installed)
    assert (list(shape.mean), list(shape.deviation)) == (said["image_mean"], said["image_std"])
    pixels = np.full((1, shape.resolution, shape.resolution, 3), 128, np.uint8)
    expected = (128 / 255 - np.array(shape.mean)) / np.array(shape.deviation)
    found = Backbone.load(installed).normalised(pixels)[0, :, 0, 0].numpy()
    assert np.abs(found - expected).max() <= 1e-6


def test_image_features_are_those_of_transformers_on_the_same_pixels(installed: Path) -> None:
    backbone = Backbone.load(installed)
    pixels = np.random.default_rng(1).integers(
        0, 256, (2, backbone.resolution, backbone.resolution, 3), np.uint8
    )
    if backbone.shape.family == "siglip2":
        from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

        side = backbone.model.config.vision_config.patch_size
        grid = backbone.resolution // side
        patches = torch.stack(
            [
                torch.from_numpy(convert_image_to_patches(picture.numpy(), side))
                for picture in backbone.normalised(pixels)
            ]
        )
        with torch.no_grad():
            expected = backbone.model.get_image_features(
                pixel_values=patches,
                pixel_attention_mask=torch.ones(2, grid * grid, dtype=torch.int32),
                spatial_shapes=torch.tensor([[grid, grid]] * 2),
            ).pooler_output
    else:
        with torch.no_grad():
            expected = backbone.model.get_image_features(
                pixel_values=backbone.normalised(pixels)
            ).pooler_output
    assert (backbone.encode_images(pixels) - expected).abs().max() <= 1e-5


def test_text_features_are_those_of_transformers_own_padding(installed: Path) -> None:
    backbone = Backbone.load(installed)
    padded = backbone.tokenizer(
        CAPTIONS,
        padding="max_length",
        truncation=True,
        max_length=backbone.context_length,
        return_tensors="pt",
    )["input_ids"]
    with torch.no_grad():
        expected = backbone.model.get_text_features(input_ids=padded).pooler_output
    assert (backbone.text_features(CAPTIONS) - expected).abs().max() <= 1e-5
    assert (backbone.text_features(CAPTIONS, batch_size=1) - expected).abs().max() <= 1e-5


def test_its_text_encoder_is_saved_and_put_back_without_touching_the_image_encoder(
    installed: Path, tmp_path: Path
) -> None:
    tuned = Backbone.load(installed)
    with torch.no_grad():
        for parameter in tuned.text_parameters():
            parameter.add_(0.01)
    (tmp_path / "tuned").mkdir()
    save_text_encoder(tmp_path / "tuned", tuned, {"recipe": "test"})
    again = Backbone.load(installed)
    image_before = again.image_state_dict()
    load_text_encoder(tmp_path / "tuned", again)
    assert (again.text_features(CAPTIONS) - tuned.text_features(CAPTIONS)).abs().max() <= 1e-6
    assert all(torch.equal(value, image_before[name]) for name, value in again.image_state_dict().items())
    names = set(load_file(tmp_path / "tuned" / "model.safetensors"))
    assert not any(name.startswith(("vision", "visual", "logit")) for name in names)


def test_both_encoders_parameters_are_the_whole_network_but_the_scale(installed: Path) -> None:
    backbone = Backbone.load(installed)
    text, image = set(backbone.text_state_dict()), set(backbone.image_state_dict())
    rest = set(backbone.model.state_dict()) - text - image
    assert not text & image
    assert rest <= {"logit_scale", "logit_bias"}


def test_weights_of_the_older_form_are_rewritten_without_executing_them(source: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(source, old)
    weights = load_file(old / "model.safetensors")
    torch.save(weights, old / "pytorch_model.bin")
    (old / "model.safetensors").unlink()
    install_backbone(BackboneSettings(kind="folder", place=str(old)), tmp_path / "new")
    again = load_file(tmp_path / "new" / "model.safetensors")
    assert all(torch.equal(value, again[name]) for name, value in weights.items())


def test_an_unknown_family_is_refused_by_name(tmp_path: Path) -> None:
    folder = write_family("clip", tmp_path / "hub")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    with pytest.raises(ValueError, match=r"model_type is 'llama', expected one of clip .*SigLIP"):
        install_backbone(BackboneSettings(kind="folder", place=str(folder)), tmp_path / "installed")
    assert not (tmp_path / "installed").exists()
    assert list(tmp_path.iterdir()) == [folder]


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = write_family("siglip", tmp_path / "siglip")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(write_family("clip", tmp_path / "clip") / name, folder / name)
    with pytest.raises(ValueError, match="put the tokenizer files of this very model beside its weights"):
        Backbone.load(folder)


def test_without_a_net_the_message_says_what_to_fetch_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    settings = BackboneSettings(kind="hub", place="nobody/has-this", revision="main")
    with pytest.raises(BrokenModel, match=r"fetch config\.json, model\.safetensors.*kind: folder"):
        install_backbone(settings, tmp_path / "backbone")


def test_the_version_is_that_of_every_file_that_counts(installed: Path) -> None:
    before = weights_digest(installed)
    (installed / "README.md").write_text("a word about it")
    assert weights_digest(installed) == before
    config = installed / "preprocessor_config.json"
    config.write_text(config.read_text().replace("0.5", "0.4").replace("0.26", "0.27"))
    assert weights_digest(installed) != before
