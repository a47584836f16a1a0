"""Checkpoints under OpenAI's names are put into our networks, and what does not fit is told by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cir_assets.models.backbone import Backbone
from cir_assets.models.reference_checkpoints import import_reference_clip
from cir_assets.models.saving import ModelMismatch
from tests.models.families import write_family

CAPTIONS = ["is red", "has longer sleeves", "no belt"]


def as_openai(backbone: Backbone) -> dict[str, Tensor]:
    """A transformers CLIP's parameters under OpenAI's names, written out layer by layer."""
    ours = {name: value.detach().clone() for name, value in backbone.model.state_dict().items()}
    theirs: dict[str, Tensor] = {"logit_scale": ours["logit_scale"]}
    for tower, prefix in (("text_model", ""), ("vision_model", "visual.")):
        layers = 1 + max(int(n.split(".")[3]) for n in ours if n.startswith(f"{tower}.encoder.layers."))
        for layer in range(layers):
            here, there = f"{tower}.encoder.layers.{layer}", f"{prefix}transformer.resblocks.{layer}"
            for kind in ("weight", "bias"):
                stacked = [ours[f"{here}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
                theirs[f"{there}.attn.in_proj_{kind}"] = torch.cat(stacked)
                theirs[f"{there}.attn.out_proj.{kind}"] = ours[f"{here}.self_attn.out_proj.{kind}"]
                theirs[f"{there}.ln_1.{kind}"] = ours[f"{here}.layer_norm1.{kind}"]
                theirs[f"{there}.ln_2.{kind}"] = ours[f"{here}.layer_norm2.{kind}"]
                theirs[f"{there}.mlp.c_fc.{kind}"] = ours[f"{here}.mlp.fc1.{kind}"]
                theirs[f"{there}.mlp.c_proj.{kind}"] = ours[f"{here}.mlp.fc2.{kind}"]
    for kind in ("weight", "bias"):
        theirs[f"ln_final.{kind}"] = ours[f"text_model.final_layer_norm.{kind}"]
        theirs[f"visual.ln_pre.{kind}"] = ours[f"vision_model.pre_layrnorm.{kind}"]
        theirs[f"visual.ln_post.{kind}"] = ours[f"vision_model.post_layernorm.{kind}"]
    embeddings = "text_model.embeddings"
    theirs["token_embedding.weight"] = ours[f"{embeddings}.token_embedding.weight"]
    theirs["positional_embedding"] = ours[f"{embeddings}.position_embedding.weight"]
    theirs["text_projection"] = ours["text_projection.weight"].T
    embeddings = "vision_model.embeddings"
    theirs["visual.class_embedding"] = ours[f"{embeddings}.class_embedding"]
    theirs["visual.positional_embedding"] = ours[f"{embeddings}.position_embedding.weight"]
    theirs["visual.conv1.weight"] = ours[f"{embeddings}.patch_embedding.weight"]
    theirs["visual.proj"] = ours["visual_projection.weight"].T
    return theirs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_family("clip", tmp_path / "clip")


def tuned(folder: Path, *, image: bool = False) -> Backbone:
    backbone = Backbone.load(folder)
    with torch.no_grad():
        for parameter in [*backbone.text_parameters(), *(backbone.image_parameters() if image else ())]:
            parameter.add_(0.02)
    return backbone


def written(file: Path, state: dict[str, Tensor], **more: Any) -> Path:
    torch.save({"epoch": 7, "CLIP": state, **more}, file)
    return file


def test_a_tuned_text_encoder_gives_its_own_features(folder: Path, tmp_path: Path) -> None:
    there = tuned(folder)
    here = Backbone.load(folder)
    found = import_reference_clip(written(tmp_path / "clip.pt", as_openai(there)), here)
    assert (found.epoch, found.image) == (7, None)
    here.load_text_state_dict(found.text)
    assert (here.text_features(CAPTIONS) - there.text_features(CAPTIONS)).abs().max() <= 1e-6


def test_half_precision_does_not_make_a_frozen_image_encoder_a_tuned_one(
    folder: Path, tmp_path: Path
) -> None:
    state = {name: value.half() for name, value in as_openai(tuned(folder)).items()}
    assert import_reference_clip(written(tmp_path / "clip.pt", state), Backbone.load(folder)).image is None


def test_a_tuned_image_encoder_is_noticed_and_given(folder: Path, tmp_path: Path) -> None:
    there = tuned(folder, image=True)
    here = Backbone.load(folder)
    found = import_reference_clip(written(tmp_path / "clip.pt", as_openai(there)), here)
    assert found.image is not None
    here.load_image_state_dict(found.image)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    assert (here.encode_images(pixels) - there.encode_images(pixels)).abs().max() <= 1e-5


def test_another_architecture_is_told_by_its_first_parameter(folder: Path, tmp_path: Path) -> None:
    other = Backbone.load(write_family("clip_patch14", tmp_path / "other"))
    with pytest.raises(
        ModelMismatch, match=r"tuned from another architecture: .* there and .* in .*D = 24, 56 px"
    ):
        import_reference_clip(written(tmp_path / "clip.pt", as_openai(tuned(folder))), other)
    siglip = Backbone.load(write_family("siglip", tmp_path / "siglip"))
    with pytest.raises(ModelMismatch, match="this backbone is of family siglip"):
        import_reference_clip(tmp_path / "clip.pt", siglip)


class Harm:
    """Touches a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_nothing_in_a_file_is_executed(folder: Path, tmp_path: Path) -> None:
    torch.save({"epoch": 1, "CLIP": {}, "x": Harm(tmp_path / "harm")}, tmp_path / "evil.pt")
    with pytest.raises(ModelMismatch, match="not a published CLIP checkpoint"):
        import_reference_clip(tmp_path / "evil.pt", Backbone.load(folder))
    assert not (tmp_path / "harm").exists()
