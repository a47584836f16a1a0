"""Dual encoders of transformers: CLIP and MetaCLIP, MetaCLIP 2, SigLIP, SigLIP 2 with its patches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import normalizers
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from cir_assets.models.files import ENCODERS, BrokenModel, read_object
from cir_assets.models.network import Network
from cir_assets.models.shape import BackboneShape, transformers_shape

# Its bars would stand in the middle of a step's log; loading is told by the step itself.
transformers_logging.disable_progress_bar()

STRAIGHT_QUOTES = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u201b", "'") | dict.fromkeys("\u201c\u201d\u201e\u201f", '"')
)
"""OpenAI's tokenizer straightens quotation marks before it splits text; transformers' does not."""


WHOLE_CONTEXT = ("siglip", "siglip2")
"""Families whose text tower sees every position, and whose captions were lower-cased in training."""

TEXT_MODELS = {
    "clip": ("CLIPTextModelWithProjection", "clip_text_model"),
    "metaclip_2": ("MetaClip2TextModelWithProjection", "metaclip_2_text_model"),
    "siglip": ("SiglipTextModel", "siglip_text_model"),
    "siglip2": ("Siglip2TextModel", "siglip2_text_model"),
}
"""Family -> what transformers calls its text encoder: architecture and ``model_type``."""


class TransformersNetwork(Network):
    """A dual encoder of transformers.

    The text towers of the CLIP family are causal and pool at the end token: a batch is cut to its longest
    caption. SigLIP's sees every position and pools at the last one: captions are lower-cased and padded to its whole
    context, as it was trained.
    """

    def __init__(self, model: Any, tokenizer: Any, shape: BackboneShape | None = None) -> None:
        shape = shape or transformers_shape(model.config, {})
        context_length = int(model.config.text_config.max_position_embeddings)
        super().__init__(model, tokenizer, shape, context_length)
        self._whole_context = shape.family in WHOLE_CONTEXT
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

    def text_features(self, tokens: Sequence[Sequence[int]]) -> Tensor:
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

    def image_features(self, values: Tensor) -> Tensor:
        """Raw image features (b, D), differentiable, of normalised pixels, float32 (b, 3, r, r)."""
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
        _save_tokenizer(self.tokenizer, folder)
        architecture, model_type = TEXT_MODELS[self.shape.family]
        config = self.model.config.text_config.to_dict() | {
            "architectures": [architecture],
            "model_type": model_type,
            "projection_dim": self.shape.feature_dimension,
            "cir_assets": dict(about),
        }
        text = json.dumps(config, indent=2, sort_keys=True, default=str)
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def load_transformers(folder: Path, shape: BackboneShape) -> TransformersNetwork:
    """Load a dual encoder of transformers from a local folder; code that comes with it is never run.

    Raises:
        BrokenModel: when weights or tokenizer do not load, or do not fit the configuration.
        OSError: when a file that is there cannot be read.
    """
    try:
        model, read = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
        tokenizer = _tokenizer(folder, shape.family)
        _require_every_weight(folder, read)
        _require_own_vocabulary(folder, model, tokenizer)
        network = TransformersNetwork(model, tokenizer, shape)
        # Some settings of a tokenizer are looked at only when it is used.
        network.tokenise(["is red"])
        return network
    except (BrokenModel, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # Over files that do not fit, the libraries raise errors of any type.
        raise BrokenModel(
            f"{folder} holds no model this project can load (it needs config.json, model.safetensors and "
            f"tokenizer files of a dual encoder of transformers): {type(error).__name__}: {error}"
        ) from error


def _require_every_weight(folder: Path, read: Mapping[str, Any]) -> None:
    """Refuse what transformers only warns of: weights it drew at random for want of others, or left out."""
    if missing := sorted(read["missing_keys"]):
        raise BrokenModel(
            f"{folder}: its weights lack {missing[0]} (in all {len(missing):,}), which config.json asks for; fetch "
            "weights and config.json of one revision"
        )
    unused = sorted(name for name in read["unexpected_keys"] if name.startswith(ENCODERS))
    if unused := [name for name in unused if not name.endswith("position_ids")]:
        raise BrokenModel(
            f"{folder}: its weights hold {unused[0]} (in all {len(unused):,}), which config.json has no place for; "
            "fetch weights and config.json of one revision"
        )


def _require_own_vocabulary(folder: Path, model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer that does not belong to the model: its ids would be meaningless or out of range."""
    known = int(model.config.text_config.vocab_size)
    if not 2 < len(tokenizer) <= known:
        raise BrokenModel(
            f"{folder}: the tokenizer knows {len(tokenizer):,} tokens, the text encoder {known:,}; put the "
            "tokenizer files of this very model beside its weights (tokenizer.json, or vocab.json and merges.txt)"
        )


def _tokenizer(folder: Path, family: str) -> Any:
    """The tokenizer a folder's own files name, told of SigLIP's training what they leave out.

    SigLIP and SigLIP 2 were trained on lower case, padded after the end. Files of SigLIP 2 name Gemma's tokenizer,
    which keeps capitals and, where nothing is said, pads before.
    """
    named: Any = AutoTokenizer
    if (
        family == "siglip"
        and not (folder / "spiece.model").is_file()
        and (folder / "tokenizer.json").is_file()
    ):
        config = folder / "tokenizer_config.json"
        of_class = read_object(config).get("tokenizer_class") if config.is_file() else None
        if of_class in (None, "SiglipTokenizer"):
            named = PreTrainedTokenizerFast  # their class reads sentencepiece's file alone
    tokenizer = named.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if family not in WHOLE_CONTEXT:
        return tokenizer
    said = tokenizer.init_kwargs
    if "padding_side" not in said:
        tokenizer.padding_side = "right"
    if tokenizer.is_fast and said.get("do_lower_case") is not False:
        backend = tokenizer.backend_tokenizer
        before = backend.normalizer
        if before is None:
            backend.normalizer = normalizers.Lowercase()
        elif "A" in before.normalize_str("A"):
            backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), before])
    return tokenizer


def _save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write a tokenizer so that transformers 4 and 5 read it alike.

    Version 5 names classes and keys that version 4 does not know, and rebuilds the classes both know by rules of its
    own; a tokenizer that is whole in ``tokenizer.json`` goes by the one class that reads nothing else.
    """
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    written = read_object(file)
    for unknown in ("backend", "is_local", "local_files_only", "name_or_path", "added_tokens_decoder"):
        written.pop(unknown, None)
    if isinstance(extra := written.pop("extra_special_tokens", None), list):
        written["additional_special_tokens"] = extra
    if tokenizer.is_fast:
        whole = read_object(folder / "tokenizer.json")
        written["tokenizer_class"] = "PreTrainedTokenizerFast"
        if "add_prefix_space" in (before := whole["pre_tokenizer"] or {}):
            # Late versions of 4 set it anew, to false where the configuration says nothing.
            written["add_prefix_space"] = before["add_prefix_space"]
        merges = whole["model"].get("merges", [])
        if not any(isinstance(pair, str) or any(" " in piece for piece in pair) for pair in merges):
            # As "a b" tokenizers of every version read them; those before 0.20 know nothing else.
            whole["model"] |= {"merges": [" ".join(pair) for pair in merges]} if merges else {}
            text = json.dumps(whole, indent=2, ensure_ascii=False)
            (folder / "tokenizer.json").write_text(text + "\n", encoding="utf-8")
    file.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")
