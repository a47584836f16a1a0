"""Backbones of every family at reduced size: true architectures, random weights, tokenizers trained on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    CLIPConfig,
    CLIPModel,
    MetaClip2Config,
    MetaClip2Model,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
)

from cir_assets.training.tiny_clip import tiny_tokenizer

NARROW = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
SENTENCES = ["is red with longer sleeves", "the same dress but blue", "has no belt and is much darker"] * 20


def sentence_tokenizer() -> PreTrainedTokenizerFast:
    """A unigram tokenizer as SigLIP's and MetaCLIP 2's are: lower case, end token last, padding of its own."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def write_family(family: str, folder: Path) -> Path:
    """Write a small model of one family with its tokenizer and preprocessing, as the Hub holds them."""
    torch.manual_seed(11)
    model: Any
    if family in ("clip", "clip_patch14"):
        tokenizer = tiny_tokenizer(400, seed=3, garments=200)
    else:
        tokenizer = sentence_tokenizer()
    text = {
        **NARROW,
        "vocab_size": len(tokenizer) + 8,  # a tokenizer class may add special tokens of its own
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    clip_colours = {"image_mean": [0.481, 0.457, 0.408], "image_std": [0.268, 0.261, 0.275]}
    half = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    if family == "clip":
        model = CLIPModel(
            CLIPConfig(
                text_config={**text, "max_position_embeddings": 77, "projection_dim": 16},
                vision_config={**NARROW, "image_size": 32, "patch_size": 8, "projection_dim": 16},
                projection_dim=16,
            )
        )
    elif family == "clip_patch14":
        # As H/14: patches of 14, towers of different widths, and the ordinary GELU.
        model = CLIPModel(
            CLIPConfig(
                text_config={
                    **text,
                    "max_position_embeddings": 77,
                    "projection_dim": 24,
                    "hidden_act": "gelu",
                },
                vision_config={
                    **NARROW,
                    "hidden_size": 64,
                    "image_size": 56,
                    "patch_size": 14,
                    "projection_dim": 24,
                    "hidden_act": "gelu",
                },
                projection_dim=24,
            )
        )
    elif family == "metaclip_2":
        model = MetaClip2Model(
            MetaClip2Config(
                text_config={**text, "max_position_embeddings": 77, "projection_dim": 16},
                vision_config={**NARROW, "image_size": 32, "patch_size": 8, "projection_dim": 16},
                projection_dim=16,
            )
        )
    elif family == "siglip":
        model = SiglipModel(
            SiglipConfig(
                text_config={**text, "max_position_embeddings": 20, "projection_size": 32},
                vision_config={**NARROW, "image_size": 32, "patch_size": 8},
            )
        )
    else:
        model = Siglip2Model(
            Siglip2Config(
                text_config={**text, "max_position_embeddings": 20, "projection_size": 32},
                vision_config={**NARROW, "num_patches": 16, "patch_size": 8},
            )
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    colours = clip_colours if "clip" in family and not family.startswith("sig") else half
    (folder / "preprocessor_config.json").write_text(json.dumps(colours))
    return folder
