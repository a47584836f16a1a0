"""A backbone small enough to be trained in a test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from cir_assets.models.backbone import Backbone
from cir_assets.models.transformers_network import TransformersNetwork
from cir_assets.training.tiny_clip import save, tiny_tokenizer


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a CLIP of one layer, width 32 and random weights, D = 16, with a tokenizer trained for it."""
    tokenizer = tiny_tokenizer(400, seed=3, garments=200)
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    small = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": 16,
    }
    torch.manual_seed(5)
    model = CLIPModel(
        CLIPConfig(
            text_config={
                **small,
                "vocab_size": len(tokenizer),
                "max_position_embeddings": 77,
                **special,
            },
            vision_config={**small, "image_size": 16, "patch_size": 8},
            projection_dim=16,
        )
    )
    folder = tmp_path_factory.mktemp("backbones") / "small"
    save(Backbone(TransformersNetwork(model, tokenizer), "untrained", "cpu"), folder)
    return folder


@pytest.fixture
def backbone(backbone_folder: Path) -> Backbone:
    """Load the small backbone anew."""
    return Backbone.load(backbone_folder, "cpu")
