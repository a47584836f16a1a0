"""Dual encoders of transformers: CLIP and MetaCLIP, MetaCLIP 2, SigLIP, SigLIP 2 with its patches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from cir_assets.models.backbone import Backbone
from cir_assets.models.installation import BackboneShape, transformers_shape

# Its bars would stand in the middle of a step's log; loading is told by the step itself.
transformers_logging.disable_progress_bar()

STRAIGHT_QUOTES = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u201b", "'") | dict.fromkeys("\u201c\u201d\u201e\u201f", '"')
)
"""OpenAI's tokenizer straightens quotation marks before it splits text; transformers' does not."""


class TransformersBackbone(Backbone):
    """A dual encoder of transformers.

    The text towers of the CLIP family are causal and pool at the end token: a batch is cut to its longest
    caption. SigLIP's sees every position and pools at the last one: captions are padded to its whole context,
    as it was trained.
    """

    def __init__(
        self, model: Any, tokenizer: Any, digest: str, device: str, shape: BackboneShape | None = None
    ) -> None:
        shape = shape or transformers_shape(model.config, {})
        context_length = int(model.config.text_config.max_position_embeddings)
        super().__init__(model, tokenizer, shape, context_length, digest, device)
        self._whole_context = shape.family in ("siglip", "siglip2")
        self._padded_before = self._whole_context and tokenizer.padding_side == "left"
        self._in_patches = shape.family == "siglip2"
        padding = tokenizer.pad_token_id if self._whole_context else tokenizer.eos_token_id
        self._padding = int(tokenizer.eos_token_id if padding is None else padding)

    def tokenise(self, captions: Sequence[str]) -> list[list[int]]:
        """Token ids of each caption with its special tokens, cut at the context length, end token kept."""
        if not captions:
            return []
        straightened = [caption.translate(STRAIGHT_QUOTES) for caption in captions]
        encoded = self.tokenizer(straightened, truncation=True, max_length=self.context_length)
        return [list(ids) for ids in encoded["input_ids"]]

    def encode_texts_together(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Raw text features (b, D), differentiable; padded to the longest of the batch where that is enough.

        What follows the first end token is never seen by a causal tower, so cutting the batch changes
        features by float32 rounding only.
        """
        longest = self.context_length if self._whole_context else max(len(ids) for ids in tokens)
        padded = np.full((len(tokens), longest), self._padding, dtype=np.int64)
        for row, ids in enumerate(tokens):
            place = slice(longest - len(ids), None) if self._padded_before else slice(len(ids))
            padded[row, place] = ids
        batch = torch.from_numpy(padded).to(self.device, non_blocking=True)
        return self.model.get_text_features(input_ids=batch).pooler_output  # type: ignore[no-any-return]

    def image_features_with_gradient(self, pixels: NDArray[np.uint8] | Tensor) -> Tensor:
        """Raw image features (b, D) of uint8 pixels (b, r, r, 3), for training the image encoder."""
        values = self.normalised(pixels)
        if self._in_patches:
            return self._patched_image_features(values)
        return self.model.get_image_features(pixel_values=values).pooler_output  # type: ignore[no-any-return]

    def _patched_image_features(self, values: Tensor) -> Tensor:
        """SigLIP 2 of flexible resolution takes rows of patches; ours are squares, so all are of one shape."""
        side = int(self.model.config.vision_config.patch_size)
        count, channels, height, width = values.shape
        rows, columns = height // side, width // side
        patches = values.reshape(count, channels, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
        return self.model.get_image_features(  # type: ignore[no-any-return]
            pixel_values=patches.reshape(count, rows * columns, side * side * channels),
            pixel_attention_mask=torch.ones(count, rows * columns, dtype=torch.int32, device=self.device),
            spatial_shapes=torch.tensor([[rows, columns]] * count, device=self.device),
        ).pooler_output

    def save_text_companions(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write the tokenizer and ``config.json``: with the weights they load as transformers' text model."""
        self.tokenizer.save_pretrained(folder)
        architecture, model_type = {
            "clip": ("CLIPTextModelWithProjection", "clip_text_model"),
            "metaclip_2": ("MetaClip2TextModelWithProjection", "metaclip_2_text_model"),
            "siglip": ("SiglipTextModel", "siglip_text_model"),
            "siglip2": ("Siglip2TextModel", "siglip2_text_model"),
        }[self.shape.family]
        config = self.model.config.text_config.to_dict() | {
            "architectures": [architecture],
            "model_type": model_type,
            "projection_dim": self.feature_dimension,
            "cir_assets": dict(about),
        }
        text = json.dumps(config, indent=2, sort_keys=True, default=str)
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def load_transformers(folder: Path, shape: BackboneShape, digest: str, device: str) -> TransformersBackbone:
    """Load a dual encoder of transformers from a local folder.

    Raises:
        ValueError: when weights or tokenizer are absent or do not fit the configuration.
    """
    try:
        model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"{folder} holds no model this project can load (it needs config.json, model.safetensors and "
            f"tokenizer files of a dual encoder of transformers): {error}"
        ) from error
    _require_own_vocabulary(folder, model, tokenizer)
    return TransformersBackbone(model, tokenizer, digest, device, shape)


def _require_own_vocabulary(folder: Path, model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer that does not belong to the model: its ids would be meaningless or out of range."""
    known = int(model.config.text_config.vocab_size)
    if not 2 < len(tokenizer) <= known:
        raise ValueError(
            f"{folder}: the tokenizer knows {len(tokenizer):,} tokens, the text encoder {known:,}; put the "
            "tokenizer files of this very model beside its weights (tokenizer.json, or vocab.json and merges.txt)"
        )
