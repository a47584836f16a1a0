"""A dual encoder as one library gives it: its network and tokenizer, and what differs from library to library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cir_assets.models.shape import BackboneShape


class Network(ABC):
    """Both encoders with their tokenizer, always in eval mode: no dropout, frozen statistics."""

    def __init__(self, model: nn.Module, tokenizer: Any, shape: BackboneShape, context_length: int) -> None:
        # The libraries type their networks too loosely to be checked.
        self.model: Any = model.requires_grad_(False).train(False)
        self.tokenizer = tokenizer
        self.shape = shape
        self.context_length = context_length
        """Longest token sequence the text encoder takes, special tokens counted."""
        self.device = torch.device("cpu")

    def to(self, device: str) -> None:
        """Move the network to a device."""
        self.device = torch.device(device)
        self.model.to(self.device)

    @abstractmethod
    def tokenise(self, captions: Sequence[str]) -> list[list[int]]:
        """Token ids of each caption with its special tokens, cut at the context length, end token kept."""

    @abstractmethod
    def text_features(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Raw text features (b, D), differentiable, of captions padded no further than the network needs."""

    @abstractmethod
    def image_features(self, values: Tensor) -> Tensor:
        """Raw image features (b, D), differentiable, of normalised pixels, float32 (b, 3, r, r), on the device."""

    @abstractmethod
    def save_text_companions(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write tokenizer and configuration of the text encoder beside its saved weights."""
