"""A CLIP-like dual encoder, whatever library its network comes from: pixels and captions in, raw features out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cir_assets.engines.cores import granted_cores
from cir_assets.models.files import require_whole, weights_digest
from cir_assets.models.network import Network
from cir_assets.models.shape import backbone_shape

IMAGE_ENCODER = ("vision_model.", "visual_projection.", "visual.")
"""What the names of an image encoder's parameters begin with, in transformers and in open_clip."""

CAPTIONS_TOGETHER = 32
"""Captions of like length that pass a text tower at once on a CPU: fewer would leave its cores idle."""

PICTURES_TOGETHER = 32
"""Pictures that pass an image encoder at once on a CPU: what the layers hand on then stays in cache."""

SCALES = ("logit_scale", "logit_bias")
"""Parameters of neither encoder; no stage trains them."""


class Backbone:
    """A dual encoder with its tokenizer: both encoders give raw, un-normalised features of one dimension.

    The network is always in eval mode (no dropout, frozen statistics), also while an encoder is trained.
    """

    def __init__(self, network: Network, digest: str, device: str) -> None:
        # By itself torch takes a thread a core of the machine; those without a core of theirs hold up the others.
        torch.set_num_threads(min(torch.get_num_threads(), granted_cores()))
        network.to(device)
        self._network = network
        self.model: Any = network.model
        self.tokenizer = network.tokenizer
        self.shape = network.shape
        self.context_length = network.context_length
        self.weights_digest = digest
        self.device = network.device
        mean = torch.tensor(self.shape.mean, device=device).view(1, 3, 1, 1)
        deviation = torch.tensor(self.shape.deviation, device=device).view(1, 3, 1, 1)
        # (x/255 - mean)/std in one multiplication and one addition.
        self._scale, self._shift = 1 / (255 * deviation), mean / deviation

    @staticmethod
    def load(folder: Path, device: str = "cpu") -> Backbone:
        """Load weights, configuration and tokenizer from a model folder, never from the net; no code in it is run.

        Raises:
            BrokenModel: when the folder holds no whole dual encoder this project can load, naming what is wrong.
            OSError: when a file that is there cannot be read.
        """
        require_whole(folder)
        shape = backbone_shape(folder)
        network: Network
        if shape.library == "open_clip":
            from cir_assets.models.open_clip_network import load_open_clip

            network = load_open_clip(folder, shape)
        else:
            from cir_assets.models.transformers_network import load_transformers

            network = load_transformers(folder, shape)
        return Backbone(network, weights_digest(folder), device)

    @property
    def feature_dimension(self) -> int:
        """D, the dimension of image and text features."""
        return self.shape.feature_dimension

    @property
    def resolution(self) -> int:
        """Side of the square the image encoder takes, in pixels."""
        return self.shape.resolution

    def tokenise(self, captions: Sequence[str]) -> list[list[int]]:
        """Token ids of each caption with its special tokens, cut at the context length, end token kept."""
        return self._network.tokenise(captions)

    def encode_texts_together(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Raw text features (b, D), differentiable, of captions padded no further than the network needs."""
        return self._network.text_features(tokens)

    def image_features_with_gradient(self, pixels: NDArray[np.uint8] | Tensor) -> Tensor:
        """Raw image features (b, D) of uint8 pixels (b, r, r, 3), for training the image encoder."""
        return self._network.image_features(self.normalised(pixels))

    def save_text_companions(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write tokenizer and configuration of the text encoder beside its saved weights."""
        self._network.save_text_companions(folder, about)

    def encode_texts(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Raw text features (b, D), differentiable, in the captions' order.

        On a CPU captions of like length go together: padded to the longest of a batch, half of what FashionIQ's
        give to compute would be padding. On a GPU one pass is as quick as several.
        """
        if self.device.type != "cpu" or len(tokens) < 2 * CAPTIONS_TOGETHER:
            return self.encode_texts_together(tokens)
        by_length = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        parts = np.array_split(np.array(by_length), min(4, len(tokens) // CAPTIONS_TOGETHER))
        found = torch.cat([self.encode_texts_together([tokens[row] for row in part]) for part in parts])
        return found[np.argsort(by_length)]

    def normalised(self, pixels: NDArray[np.uint8] | Tensor) -> Tensor:
        """Pixels uint8 (b, r, r, 3) as the image encoder takes them: float32 (b, 3, r, r), on the device."""
        batch = torch.as_tensor(pixels).to(self.device, non_blocking=True)
        return batch.permute(0, 3, 1, 2).to(torch.float32) * self._scale - self._shift

    @torch.no_grad()
    def encode_images(self, pixels: NDArray[np.uint8] | Tensor) -> Tensor:
        """Raw image features, float32 (b, D), of uint8 pixels (b, r, r, 3).

        On a CPU a few at a time: with 256 together ViT-B/32 takes a third longer, and tiny_clip five times the memory.
        """
        together = PICTURES_TOGETHER if self.device.type == "cpu" else max(len(pixels), 1)
        with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
            parts = [
                self.image_features_with_gradient(pixels[start : start + together]).float()
                for start in range(0, max(len(pixels), 1), together)
            ]
        return torch.cat(parts)

    def text_features(self, captions: Sequence[str], batch_size: int = 256) -> Tensor:
        """Raw text features, float32 (n, D), in the captions' order; each distinct caption is encoded once."""
        return self.features_of_tokens(self.tokenise(captions), batch_size)

    @torch.no_grad()
    def features_of_tokens(self, tokens: Sequence[Sequence[int]], batch_size: int = 256) -> Tensor:
        """Raw text features, float32 (n, D), of captions as ``tokenise`` gives them, in their order.

        Distinct ones are encoded once, in batches of equal lengths as near as can be.
        """
        distinct = {ids: row for row, ids in enumerate(dict.fromkeys(map(tuple, tokens)))}
        by_length = sorted(distinct, key=len)
        features = torch.empty(len(distinct), self.feature_dimension, device=self.device)
        for start in range(0, len(by_length), batch_size):
            some = by_length[start : start + batch_size]
            features[[distinct[ids] for ids in some]] = self.encode_texts(some).float()
        return features[[distinct[tuple(ids)] for ids in tokens]]

    def text_parameters(self) -> Iterator[nn.Parameter]:
        """The text encoder's: embeddings, text transformer, final norm and text projection."""
        return (value for name, value in self.model.named_parameters() if _of_text(name))

    def image_parameters(self) -> Iterator[nn.Parameter]:
        """The image encoder's, its projection among them."""
        return (value for name, value in self.model.named_parameters() if _of_image(name))

    def text_state_dict(self) -> dict[str, Tensor]:
        """The text encoder's parameters by the network's own names, detached copies on the CPU."""
        return {name: _copy(value) for name, value in self.model.state_dict().items() if _of_text(name)}

    def image_state_dict(self) -> dict[str, Tensor]:
        """The image encoder's parameters and statistics by name, detached copies on the CPU."""
        return {name: _copy(value) for name, value in self.model.state_dict().items() if _of_image(name)}

    def load_text_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put a text encoder's parameters in place.

        Raises:
            ValueError: when they are not of this backbone's shape, naming the first that differs.
        """
        self._put("text encoder", self.text_state_dict(), state)

    def load_image_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put an image encoder's parameters in place.

        Raises:
            ValueError: when they are not of this backbone's shape, naming the first that differs.
        """
        self._put("image encoder", self.image_state_dict(), state)

    def _put(self, encoder: str, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        for name in sorted(own.keys() | state.keys()):
            ours, theirs = own.get(name), state.get(name)
            if ours is None or theirs is None or ours.shape != theirs.shape:
                raise ValueError(
                    f"the {encoder} does not fit this backbone: {name} is "
                    f"{_shape(theirs)} there and {_shape(ours)} here; it was tuned from another backbone"
                )
        self.model.load_state_dict(dict(state), strict=False)


def _of_image(name: str) -> bool:
    return name.startswith(IMAGE_ENCODER)


def _of_text(name: str) -> bool:
    return not name.startswith((*IMAGE_ENCODER, *SCALES))


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone().contiguous()


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else "x".join(map(str, tensor.shape))
