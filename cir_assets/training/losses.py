"""The contrastive loss both stages share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def contrastive_loss(queries: Tensor, targets: Tensor, scale: float = 100.0) -> Tensor:
    """Mean cross-entropy of ``scale * queries @ targets.T`` with each row's own target as its label.

    One direction only, in-batch negatives (paper section 3.2; reference ``clip_fine_tune.py``).

    Args:
        queries: (B, D), unit length.
        targets: (B, D), unit length; row i is the target of query i.
        scale: what cosine similarities are multiplied by.

    Returns:
        A scalar.
    """
    logits = scale * queries @ targets.T
    return functional.cross_entropy(logits, torch.arange(len(queries), device=queries.device))
