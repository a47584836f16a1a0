"""What a query's target is told apart from: the batch's other targets, or every picture of the train galleries."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cir_assets.training.losses import contrastive_loss
from cir_assets.training.settings import CombinerSettings, TextEncoderSettings
from cir_assets.training.triplets import TrainingTriplets

LARGEST_SCALE = 100.0
"""A learnt scale stays at or below it, as CLIP's own did in its training."""

SCALE_NAME = "logit_scale"


class TargetLoss:
    """The loss of a batch of queries under a stage's settings.

    Holds the gallery's features for ``negatives: gallery``: 4 * G * D bytes, and logits of B x G in each step.
    """

    def __init__(
        self,
        settings: TextEncoderSettings | CombinerSettings,
        triplets: TrainingTriplets,
        unit_features: Tensor,
    ) -> None:
        """Lay out candidates and copies once.

        Args:
            settings: scale, negatives and masking.
            triplets: the train split; gallery and contents where the settings need them.
            unit_features: (N, D), unit length, as cached; of a trained image encoder they are not looked at.

        Raises:
            ValueError: the settings need the gallery or the contents, and the triplets have none.
        """
        device = unit_features.device
        self._scale: float | nn.Parameter = settings.logit_scale
        if settings.learn_logit_scale:
            start = math.log(min(settings.logit_scale, LARGEST_SCALE))
            self._scale = nn.Parameter(torch.tensor(start, device=device))
        self._contents: Tensor | None = None
        if settings.mask_duplicate_targets:
            if triplets.contents is None:
                raise ValueError("mask_duplicate_targets needs to know which rows show the same picture")
            self._contents = torch.from_numpy(triplets.contents).to(device)
        self._gallery: Tensor | None = None
        if settings.negatives == "gallery":
            if triplets.gallery is None:
                raise ValueError("negatives: gallery needs the rows of the train galleries")
            self._gallery = torch.from_numpy(triplets.gallery).to(device)
            self._candidates = unit_features[self._gallery]
            self._place = torch.full((len(unit_features),), -1, dtype=torch.long, device=device)
            self._place[self._gallery] = torch.arange(len(self._gallery), device=device)

    def __call__(self, queries: Tensor, targets: Tensor, target_rows: Tensor) -> Tensor:
        """Mean loss of unit-length queries (B, D); targets (B, D) are unit length, rows int64 (B,)."""
        scale = self.scale()
        candidates, rows, labels = targets, target_rows, None
        if self._gallery is not None:
            candidates, rows, labels = self._candidates, self._gallery, self._place[target_rows]
        left_out = None
        if self._contents is not None:
            left_out = self._contents[target_rows][:, None] == self._contents[rows][None, :]
            own = torch.arange(len(queries), device=queries.device) if labels is None else labels
            left_out[torch.arange(len(queries), device=queries.device), own] = False
        return contrastive_loss(queries, candidates, scale, labels=labels, left_out=left_out)

    def scale(self) -> float | Tensor:
        """What cosines are multiplied by now."""
        if isinstance(self._scale, nn.Parameter):
            return self._scale.exp().clamp(max=LARGEST_SCALE)
        return self._scale

    def parameters(self) -> Iterator[nn.Parameter]:
        """The learnt scale, or nothing."""
        if isinstance(self._scale, nn.Parameter):
            yield self._scale

    def weights(self) -> dict[str, Tensor]:
        """The learnt scale by name, for checkpoints; a copy on its device."""
        if not isinstance(self._scale, nn.Parameter):
            return {}
        return {SCALE_NAME: self._scale.detach().clone()}

    @torch.no_grad()
    def load_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take the learnt scale from a checkpoint's weights; return the others."""
        for parameter in self.parameters():
            parameter.copy_(weights[SCALE_NAME])
        return {name: value for name, value in weights.items() if name != SCALE_NAME}
