"""A dual encoder gives the same features however its captions are batched, and says what it cannot load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cir_assets.models.backbone import Backbone
from cir_assets.models.files import BrokenModel, weights_digest
from cir_assets.models.installation import EMBEDDED, install_backbone
from cir_assets.models.settings import BackboneSettings

CAPTIONS = ["is red", "has longer sleeves and is much darker", "no belt.", "is red", "", "x" * 10_000]


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone.load(EMBEDDED / "tiny_clip")


def test_the_embedded_backbone_is_as_small_as_promised(backbone: Backbone) -> None:
    assert 1_000_000 <= sum(p.numel() for p in backbone.model.parameters()) <= 2_000_000
    assert (EMBEDDED / "tiny_clip" / "model.safetensors").stat().st_size <= 8_000_000
    assert (backbone.feature_dimension, backbone.resolution) == (128, 64)


def test_text_features_do_not_depend_on_the_batch(backbone: Backbone) -> None:
    together = backbone.text_features(CAPTIONS)
    for caption, feature in zip(CAPTIONS, together, strict=True):
        assert (backbone.text_features([caption])[0] - feature).abs().max() <= 1e-5
    assert (backbone.text_features(CAPTIONS, batch_size=2) - together).abs().max() <= 1e-5


def test_cutting_to_the_longest_caption_equals_padding_to_the_context(backbone: Backbone) -> None:
    tokens = backbone.tokenise(CAPTIONS)
    end = backbone.tokenizer.eos_token_id
    padded = torch.tensor([ids + [end] * (backbone.context_length - len(ids)) for ids in tokens])
    with torch.no_grad():
        whole = backbone.model.get_text_features(input_ids=padded).pooler_output
        cut = backbone.encode_texts(tokens)
    assert (whole - cut).abs().max() <= 1e-5


@pytest.mark.parametrize("count", [1, 63, 64, 150])
def test_captions_of_like_length_go_together_and_come_back_in_order(backbone: Backbone, count: int) -> None:
    random = np.random.default_rng(count)
    words = ["red", "with", "longer", "sleeves", "no", "belt", "striped"]
    captions = [" ".join(random.choice(words, random.integers(1, 25))) for _ in range(count)]
    tokens = backbone.tokenise(captions)
    weight = backbone.model.text_projection.weight.requires_grad_(True)
    found, gradients = [], []
    for encode in (backbone.encode_texts, backbone.encode_texts_together):
        features = encode(tokens)
        [gradient] = torch.autograd.grad(features.square().mean(), weight)
        found.append(features.detach())
        gradients.append(gradient)
    weight.requires_grad_(False)
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-4)


def test_long_captions_are_cut_and_keep_their_end(backbone: Backbone) -> None:
    [tokens] = backbone.tokenise(["striped and dotted " * 500])
    assert len(tokens) == backbone.context_length
    assert tokens[-1] == backbone.tokenizer.eos_token_id


def test_a_picture_is_encoded_alike_alone_and_in_a_batch(backbone: Backbone) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    together = backbone.encode_images(pixels)
    alone = torch.cat([backbone.encode_images(pixels[i : i + 1]) for i in range(5)])
    assert (together - alone).abs().max() <= 1e-4


def test_a_text_encoder_of_another_backbone_is_refused_by_name(backbone: Backbone) -> None:
    state = backbone.text_state_dict()
    state["text_projection.weight"] = torch.ones(64, 128)
    with pytest.raises(ValueError, match=r"text_projection\.weight is 64x128 there and 128x128 here"):
        backbone.load_text_state_dict(state)


def test_a_folder_that_holds_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"lacks model\.safetensors"):
        Backbone.load(tmp_path)
    with pytest.raises(BrokenModel, match=r"lacks model\.safetensors"):
        install_backbone(BackboneSettings(kind="folder", place=str(tmp_path)), tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_an_installed_backbone_has_the_version_of_its_source(tmp_path: Path) -> None:
    install_backbone(BackboneSettings(kind="embedded", place="tiny_clip"), tmp_path / "tiny_clip")
    assert weights_digest(tmp_path / "tiny_clip") == weights_digest(EMBEDDED / "tiny_clip")
