"""A CLIP-like dual encoder of transformers: pixels and captions in, raw features out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoTokenizer, CLIPModel
from transformers.utils import logging as transformers_logging

from cir_assets.models.installation import weights_digest
from cir_assets.models.preprocessing import CLIP_MEAN, CLIP_STD

# Its bars would stand in the middle of a step's log; loading is told by the step itself.
transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

STRAIGHT_QUOTES = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u201b", "'") | dict.fromkeys("\u201c\u201d\u201e\u201f", '"')
)
"""OpenAI's tokenizer straightens quotation marks before it splits text; transformers' does not."""


class Backbone:
    """CLIP with its tokenizer: both encoders give raw, un-normalised features of one dimension.

    The model is always in eval mode (no dropout, frozen statistics), also while its text encoder is trained.
    """

    def __init__(self, model: CLIPModel, tokenizer: Any, digest: str, device: str) -> None:
        # transformers types its models' configuration too loosely to be checked.
        self.model: Any = model
        self.model.requires_grad_(False).train(False).to(device)
        self.tokenizer = tokenizer
        self.weights_digest = digest
        self.device = torch.device(device)
        mean = torch.tensor(CLIP_MEAN, device=device).view(1, 3, 1, 1)
        deviation = torch.tensor(CLIP_STD, device=device).view(1, 3, 1, 1)
        # (x/255 - mean)/std in one multiplication and one addition.
        self._scale, self._shift = 1 / (255 * deviation), mean / deviation

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Self:
        """Load weights, configuration and tokenizer from a local folder, never from the net.

        Raises:
            ValueError: when the folder holds no CLIP model, or one whose two towers disagree.
        """
        try:
            model = CLIPModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"{folder} holds no model this project can load (it needs config.json, model.safetensors and "
                f"tokenizer files of a CLIP model of transformers): {error}"
            ) from error
        return cls(model, tokenizer, weights_digest(folder), device)

    @property
    def feature_dimension(self) -> int:
        """D, the dimension of image and text features."""
        return int(self.model.config.projection_dim)

    @property
    def resolution(self) -> int:
        """Side of the square the image encoder takes, in pixels."""
        return int(self.model.config.vision_config.image_size)

    @property
    def context_length(self) -> int:
        """Longest token sequence the text encoder takes, both special tokens counted."""
        return int(self.model.config.text_config.max_position_embeddings)

    @torch.no_grad()
    def encode_images(self, pixels: NDArray[np.uint8] | Tensor) -> Tensor:
        """Raw image features, float32 (b, D), of uint8 pixels (b, r, r, 3)."""
        with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
            return self.image_features_with_gradient(pixels).float()

    def image_features_with_gradient(self, pixels: NDArray[np.uint8] | Tensor) -> Tensor:
        """Raw image features (b, D) of uint8 pixels (b, r, r, 3), for training the image encoder."""
        batch = torch.as_tensor(pixels).to(self.device, non_blocking=True)
        normalised = batch.permute(0, 3, 1, 2).to(torch.float32) * self._scale - self._shift
        return self.model.get_image_features(pixel_values=normalised).pooler_output  # type: ignore[no-any-return]

    def tokenise(self, captions: Sequence[str]) -> list[list[int]]:
        """Token ids of each caption with both special tokens, cut at the context length, end token kept."""
        if not captions:
            return []
        straightened = [caption.translate(STRAIGHT_QUOTES) for caption in captions]
        encoded = self.tokenizer(straightened, truncation=True, max_length=self.context_length)
        return [list(ids) for ids in encoded["input_ids"]]

    def encode_texts(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Raw text features (b, D), differentiable; padded to the longest of the batch, no further.

        The text tower is causal and pools at the first end token, so what follows it is never seen and
        cutting the batch changes features by float32 rounding only.
        """
        longest = max(len(ids) for ids in tokens)
        end = self.tokenizer.eos_token_id
        padded = np.full((len(tokens), longest), end, dtype=np.int64)
        for row, ids in enumerate(tokens):
            padded[row, : len(ids)] = ids
        batch = torch.from_numpy(padded).to(self.device, non_blocking=True)
        return self.model.get_text_features(input_ids=batch).pooler_output  # type: ignore[no-any-return]

    @torch.no_grad()
    def text_features(self, captions: Sequence[str], batch_size: int = 256) -> Tensor:
        """Raw text features, float32 (n, D), in the captions' order.

        Each distinct caption is encoded once, in batches of equal lengths as near as can be.
        """
        distinct = {caption: row for row, caption in enumerate(dict.fromkeys(captions))}
        tokens = self.tokenise(list(distinct))
        by_length = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        features = torch.empty(len(tokens), self.feature_dimension, device=self.device)
        for start in range(0, len(by_length), batch_size):
            rows = by_length[start : start + batch_size]
            features[rows] = self.encode_texts([tokens[row] for row in rows]).float()
        return features[[distinct[caption] for caption in captions]]

    def _text_modules(self) -> dict[str, nn.Module]:
        return {"text_model": self.model.text_model, "text_projection": self.model.text_projection}

    def text_parameters(self) -> Iterator[nn.Parameter]:
        """What stage 1 trains: embeddings, text transformer, final norm and text projection."""
        for module in self._text_modules().values():
            yield from module.parameters()

    def text_state_dict(self) -> dict[str, Tensor]:
        """The text encoder's parameters by name, detached copies on the CPU."""
        return {
            f"{name}.{key}": value.detach().cpu().clone()
            for name, module in self._text_modules().items()
            for key, value in module.state_dict().items()
        }

    def load_text_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put a text encoder's parameters in place.

        Raises:
            ValueError: when they are not of this backbone's shape, naming the first that differs.
        """
        own = self.text_state_dict()
        for name in sorted(own.keys() | state.keys()):
            ours, theirs = own.get(name), state.get(name)
            if ours is None or theirs is None or ours.shape != theirs.shape:
                raise ValueError(
                    f"the text encoder does not fit this backbone: {name} is "
                    f"{_shape(theirs)} there and {_shape(ours)} here; it was tuned from another backbone"
                )
        for prefix, module in self._text_modules().items():
            module.load_state_dict(
                {
                    key.removeprefix(f"{prefix}."): value
                    for key, value in state.items()
                    if key.startswith(f"{prefix}.")
                }
            )


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else "x".join(map(str, tensor.shape))
