"""Dual encoders of open_clip, an optional extra: the ResNets of the paper, RN50 and RN50x4."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cir_assets.models.files import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS, BrokenModel
from cir_assets.models.network import Network
from cir_assets.models.shape import BackboneShape

HOW_TO_INSTALL = (
    "this backbone comes with open_clip, an optional extra that is not installed or does not load here; "
    "install it with: pip install 'cir-assets[open_clip]' (torchvision must be of the same build as torch)"
)


class OpenClipNetwork(Network):
    """A dual encoder of open_clip with CLIP's own text tower: causal, pooled at the end token."""

    def __init__(self, model: Any, tokenizer: Any, shape: BackboneShape) -> None:
        super().__init__(model, tokenizer, shape, int(model.context_length))

    def tokenise(self, captions: Sequence[str]) -> list[list[int]]:
        """Token ids of each caption with both special tokens, cut at the context length, end token kept."""
        first, last = self.tokenizer.sot_token_id, self.tokenizer.eot_token_id
        whole = [self.tokenizer.encode(caption) for caption in captions]
        return [[first, *ids[: self.context_length - 2], last] for ids in whole]

    def text_features(self, tokens: Sequence[Sequence[int]]) -> Tensor:
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

    def image_features(self, values: Tensor) -> Tensor:
        """Raw image features (b, D), differentiable, of normalised pixels, float32 (b, 3, r, r)."""
        return self.model.encode_image(values)  # type: ignore[no-any-return]

    def save_text_companions(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write ``config.json`` with the architecture; the tokenizer is open_clip's own, CLIP's vocabulary."""
        config = {"model_type": "open_clip_text", "open_clip": self.shape.detail, "cir_assets": dict(about)}
        text = json.dumps(config, indent=2, sort_keys=True, default=str)
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def load_open_clip(folder: Path, shape: BackboneShape) -> OpenClipNetwork:
    """Load a dual encoder of open_clip from a folder in open_clip's own layout.

    Raises:
        BrokenModel: when open_clip is absent, or the weights do not fit the configuration.
        OSError: when a file that is there cannot be read.
    """
    open_clip = require_open_clip()
    try:
        model = open_clip.create_model(f"local-dir:{folder}", require_pretrained=True)
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # Over a configuration it cannot use, open_clip raises errors of any type.
        raise BrokenModel(f"{folder}: open_clip cannot load it: {type(error).__name__}: {error}") from error
    if not isinstance(model, open_clip.CLIP):
        raise BrokenModel(
            f"{folder / OPEN_CLIP_CONFIG} describes a {type(model).__name__}; of open_clip this project takes "
            "models with CLIP's own text tower, such as RN50 and RN50x4; take the others from transformers"
        )
    return OpenClipNetwork(model, open_clip.SimpleTokenizer(), shape)


def write_open_clip(name: str, pretrained: str, folder: Path, *, quick_gelu: bool | None = None) -> str:
    """Fetch a model by open_clip's names, or read its weights from a file, and write it in its layout.

    Args:
        name: architecture, such as RN50x4.
        pretrained: a tag open_clip knows (fetched at run time), or the path of a weights file.
        folder: must exist.
        quick_gelu: whether the weights were trained with OpenAI's sigmoid form of GELU. None: as open_clip says of
            the tag, or of a file as the architecture's name says (``ViT-B-32-quickgelu``); OpenAI's own files are
            known by what they hold.

    Returns:
        Which activation was taken, and why, for people.

    Raises:
        BrokenModel: when open_clip is absent, knows neither the name nor the tag, or cannot fetch or read.
    """
    from safetensors.torch import save_file

    open_clip = require_open_clip()
    file = Path(pretrained).expanduser()
    tag = {} if file.is_file() else (open_clip.get_pretrained_cfg(name, pretrained) or {})
    try:
        openai = _openai_weights(file) if file.is_file() else None
        # Its warning of a mismatch is answered below, where the configuration is written.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="QuickGELU mismatch")
            source = None if openai else str(file) if file.is_file() else pretrained
            model = open_clip.create_model(name, pretrained=source)
        if openai:
            model.load_state_dict(openai)
        config = open_clip.get_model_config(name)
        if quick_gelu is not None:
            quick, reason = quick_gelu, "as quick_gelu says"
        elif openai or tag.get("quick_gelu"):
            quick, reason = True, f"as {'OpenAI' if openai else 'open_clip'} has it for these weights"
        else:
            quick = bool(config.get("quick_gelu"))
            reason = f"as the architecture {name} has it"
            if not tag:
                reason += f"; if {file.name} was trained with the other, set quick_gelu"
    except Exception as error:
        raise BrokenModel(
            f"open_clip could not make {name!r} with weights {pretrained!r}: {error}. Without a net, fetch the "
            f"weights elsewhere and name the file under pretrained. It knows for {name}: "
            f"{', '.join(open_clip.list_pretrained_tags_by_model(name)) or 'no such architecture'}"
        ) from error
    config = {key: value for key, value in config.items() if key != "quick_gelu"}
    if quick:
        config["quick_gelu"] = True
    preprocessing = {key: tag[key] for key in ("mean", "std") if key in tag}
    text = json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing}, indent=2, sort_keys=True)
    (folder / OPEN_CLIP_CONFIG).write_text(text + "\n", encoding="utf-8")
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()}, folder / OPEN_CLIP_WEIGHTS
    )
    return f"its activation is {'QuickGELU' if quick else 'GELU'}, {reason}"


def _openai_weights(file: Path) -> dict[str, Tensor] | None:
    """The parameters of a file as OpenAI published CLIP; None where it is another.

    OpenAI's are archives of TorchScript, which open_clip does not open, and hold three numbers no one else saves.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit.load.* is deprecated")
            state = torch.jit.load(str(file), map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    except RuntimeError:
        return None
    numbers = {"input_resolution", "context_length", "vocab_size"}
    return (
        {key: value for key, value in state.items() if key not in numbers} if numbers <= set(state) else None
    )


def require_open_clip() -> Any:
    """The module open_clip.

    Raises:
        BrokenModel: when it is not installed, or its torchvision does not fit torch, with what to do.
    """
    try:
        import open_clip
    except (ImportError, RuntimeError) as error:
        raise BrokenModel(f"{HOW_TO_INSTALL}: {error}") from error
    return open_clip
