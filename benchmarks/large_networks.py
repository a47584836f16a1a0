"""Networks and captions of the paper's true sizes, with random weights: their speed does not depend on the values."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, CLIPConfig, CLIPModel

from cir_assets.models.backbone import Backbone
from cir_assets.models.installation import EMBEDDED
from cir_assets.models.transformers_network import TransformersNetwork

FASHIONIQ_TOKENS = {
    **{
        3: 3,
        4: 39,
        5: 57,
        6: 62,
        7: 98,
        8: 100,
        9: 87,
        10: 71,
        11: 65,
        12: 66,
        13: 67,
        14: 66,
        15: 61,
        16: 48,
    },
    **{17: 38, 18: 27, 19: 18, 20: 11, 21: 7, 22: 5, 23: 2, 24: 1, 25: 1},
}
"""Per mille of FashionIQ's 72,000 train caption variants that have so many tokens, both special ones counted."""

VOCABULARY = 49_408

TOWERS: dict[str, dict[str, Any]] = {
    "ViT-B/32": {
        "text": {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8},
        "vision": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
            "patch_size": 32,
        },
        "dimension": 512,
    },
    "ViT-L/14": {
        "text": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
        "vision": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "patch_size": 14,
        },
        "dimension": 768,
    },
    # The vision tower stands in: with cached features it is never run.
    "RN50x4's text tower": {
        "text": {"hidden_size": 640, "intermediate_size": 2560, "num_attention_heads": 10},
        "vision": {
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_attention_heads": 1,
            "num_hidden_layers": 1,
        },
        "dimension": 640,
    },
}


def backbone(name: str, device: str) -> Backbone:
    """A CLIP of a true size; its tokenizer is the embedded one, whose ids are within the larger vocabulary."""
    torch.manual_seed(2)
    sizes = TOWERS[name]
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED / "tiny_clip")
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {"vocab_size": VOCABULARY, "num_hidden_layers": 12, **special, **sizes["text"]}
    config = CLIPConfig(text_config=text, vision_config=sizes["vision"], projection_dim=sizes["dimension"])
    return Backbone(TransformersNetwork(CLIPModel(config), tokenizer), "random", device)


def captions_as_tokens(network: Backbone, count: int, seed: int = 0) -> list[list[int]]:
    """Token ids of as many captions, in number of tokens as FashionIQ's."""
    first, last = network.tokenizer.bos_token_id, network.tokenizer.eos_token_id
    random = np.random.default_rng(seed)
    weights = np.array(list(FASHIONIQ_TOKENS.values()), float)
    lengths = random.choice(list(FASHIONIQ_TOKENS), count, p=weights / weights.sum())
    return [
        [first, *random.integers(last + 1, VOCABULARY, length - 2).tolist(), last]
        for length in lengths.tolist()
    ]


def parameters(network: torch.nn.Module, *, of: str = "") -> int:
    """Weights that take part in a matrix product for every input: not biases, norms and tables looked up."""
    return sum(
        weight.numel()
        for name, weight in network.named_parameters()
        if name.startswith(of) and weight.ndim == 2 and "embedding" not in name
    )
