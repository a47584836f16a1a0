"""Dual encoders of open_clip, an optional extra: the ResNets of the paper, RN50 and RN50x4."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cir_assets.models.backbone import Backbone
from cir_assets.models.installation import OPEN_CLIP_CONFIG, BackboneShape

HOW_TO_INSTALL = (
    "this backbone comes with open_clip, an optional extra that is not installed or does not load here; "
    "install it with: pip install 'cir-assets[open_clip]' (torchvision must be of the same build as torch)"
)


class OpenClipBackbone(Backbone):
    """A dual encoder of open_clip with CLIP's own text tower: causal, pooled at the end token."""

    def __init__(self, model: Any, tokenizer: Any, digest: str, device: str, shape: BackboneShape) -> None:
        super().__init__(model, tokenizer, shape, int(model.context_length), digest, device)

    def tokenise(self, captions: Sequence[str]) -> list[list[int]]:
        """Token ids of each caption with both special tokens, cut at the context length, end token kept."""
        first, last = self.tokenizer.sot_token_id, self.tokenizer.eot_token_id
        whole = [self.tokenizer.encode(caption) for caption in captions]
        return [[first, *ids[: self.context_length - 2], last] for ids in whole]

    def encode_texts_together(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Raw text features (b, D), differentiable; padded to the longest of the batch, no further.

        open_clip's own ``encode_text`` takes whole contexts only; these are its steps on fewer positions.
        """
        longest = max(len(ids) for ids in tokens)
        padded = np.zeros((len(tokens), longest), dtype=np.int64)
        for row, ids in enumerate(tokens):
            padded[row, : len(ids)] = ids
        batch = torch.from_numpy(padded).to(self.device, non_blocking=True)
        embedded = self.model.token_embedding(batch) + self.model.positional_embedding[:longest]
        mask = self.model.attn_mask[:longest, :longest]
        seen = self.model.ln_final(self.model.transformer(embedded, attn_mask=mask))
        # The end token has the highest number of all.
        ends = seen[torch.arange(len(tokens), device=self.device), batch.argmax(dim=1)]
        return ends @ self.model.text_projection  # type: ignore[no-any-return]

    def image_features_with_gradient(self, pixels: NDArray[np.uint8] | Tensor) -> Tensor:
        """Raw image features (b, D) of uint8 pixels (b, r, r, 3), for training the image encoder."""
        return self.model.encode_image(self.normalised(pixels))  # type: ignore[no-any-return]

    def save_text_companions(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write ``config.json`` with the architecture; the tokenizer is open_clip's own, CLIP's vocabulary."""
        config = {"model_type": "open_clip_text", "open_clip": self.shape.detail, "cir_assets": dict(about)}
        text = json.dumps(config, indent=2, sort_keys=True, default=str)
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def load_open_clip(folder: Path, shape: BackboneShape, digest: str, device: str) -> OpenClipBackbone:
    """Load a dual encoder of open_clip from a folder in open_clip's own layout.

    Raises:
        ValueError: when open_clip is absent, or the weights do not fit the configuration.
    """
    open_clip = require_open_clip()
    try:
        model = open_clip.create_model(f"local-dir:{folder}", require_pretrained=True)
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise ValueError(f"{folder}: open_clip cannot load it: {error}") from error
    if not isinstance(model, open_clip.CLIP):
        raise ValueError(
            f"{folder / OPEN_CLIP_CONFIG} describes a {type(model).__name__}; of open_clip this project takes "
            "models with CLIP's own text tower, such as RN50 and RN50x4; take the others from transformers"
        )
    return OpenClipBackbone(model, open_clip.SimpleTokenizer(), digest, device, shape)


def write_open_clip(name: str, pretrained: str, folder: Path) -> None:
    """Fetch a model by open_clip's names, or read its weights from a file, and write it in its layout.

    Args:
        name: architecture, such as RN50x4.
        pretrained: a tag open_clip knows (fetched at run time), or the path of a weights file.
        folder: must exist.

    Raises:
        ValueError: when open_clip is absent, knows neither the name nor the tag, or cannot fetch.
    """
    from safetensors.torch import save_file

    open_clip = require_open_clip()
    file = Path(pretrained).expanduser()
    tag = {} if file.is_file() else (open_clip.get_pretrained_cfg(name, pretrained) or {})
    # OpenAI's weights were trained with another activation than the architecture's name alone says.
    quick = bool(tag.get("quick_gelu", file.is_file()))
    try:
        model = open_clip.create_model(
            name, pretrained=str(file) if file.is_file() else pretrained, force_quick_gelu=quick
        )
    except Exception as error:
        raise ValueError(
            f"open_clip could not make {name!r} with weights {pretrained!r}: {error}. Without a net, fetch the "
            f"weights elsewhere and name the file under pretrained. It knows for {name}: "
            f"{', '.join(open_clip.list_pretrained_tags_by_model(name)) or 'no such architecture'}"
        ) from error
    config = open_clip.get_model_config(name) | ({"quick_gelu": True} if quick else {})
    preprocessing = {key: tag[key] for key in ("mean", "std") if key in tag}
    text = json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing}, indent=2, sort_keys=True)
    (folder / OPEN_CLIP_CONFIG).write_text(text + "\n", encoding="utf-8")
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )


def require_open_clip() -> Any:
    """The module open_clip.

    Raises:
        ValueError: when it is not installed, or its torchvision does not fit torch, with what to do.
    """
    try:
        import open_clip
    except (ImportError, RuntimeError) as error:
        raise ValueError(f"{HOW_TO_INSTALL}: {error}") from error
    return open_clip
