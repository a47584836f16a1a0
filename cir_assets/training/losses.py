"""The query of stage 1 and the contrastive loss both stages share."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def summed_query(image: Tensor, text: Tensor) -> Tensor:
    """Stage 1's query: the sum of two raw features, brought to unit length (paper section 3.2).

    The features go in raw: bringing them to unit length first gives another query.

    Args:
        image: (B, D), raw features of the reference images.
        text: (B, D), raw features of the relative captions.

    Returns:
        (B, D), unit length, float32 also under mixed precision.
    """
    return functional.normalize(image.float() + text.float(), dim=1)


def similarity_logits(queries: Tensor, targets: Tensor, scale: float = 100.0) -> Tensor:
    """Scaled cosines (B, T) of unit-length queries (B, D) and targets (T, D)."""
    return scale * queries @ targets.T


def contrastive_loss(
    queries: Tensor, targets: Tensor, scale: float = 100.0, reduction: Literal["mean", "none"] = "mean"
) -> Tensor:
    """Cross-entropy of ``scale * queries @ targets.T`` with each row's own target as its label.

    One direction only, in-batch negatives (paper section 3.2; reference ``clip_fine_tune.py``).

    Args:
        queries: (B, D), unit length.
        targets: (B, D), unit length; row i is the target of query i.
        scale: what cosine similarities are multiplied by.
        reduction: "mean" over the batch, or "none".

    Returns:
        A scalar, or (B,) unreduced.
    """
    labels = torch.arange(len(queries), device=queries.device)
    return functional.cross_entropy(similarity_logits(queries, targets, scale), labels, reduction=reduction)
