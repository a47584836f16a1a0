"""The contrastive loss both stages share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def similarity_logits(queries: Tensor, targets: Tensor, scale: float | Tensor = 100.0) -> Tensor:
    """Scaled cosines (B, T) of unit-length queries (B, D) and targets (T, D)."""
    return scale * queries @ targets.T


def contrastive_loss(
    queries: Tensor,
    candidates: Tensor,
    scale: float | Tensor = 100.0,
    *,
    labels: Tensor | None = None,
    left_out: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of ``scale * queries @ candidates.T`` with each query's target as its label.

    One direction only (paper section 3.2; reference ``clip_fine_tune.py``). The paper's candidates are the
    targets of the batch.

    Args:
        queries: (B, D), unit length.
        candidates: (T, D), unit length.
        scale: what cosine similarities are multiplied by.
        labels: int64 (B,), the candidate that is each query's target; None: candidate i is that of query i.
        left_out: bool (B, T), candidates that are not negatives of a query; never its target.

    Returns:
        A scalar, the mean over the batch.
    """
    if labels is None:
        labels = torch.arange(len(queries), device=queries.device)
    logits = similarity_logits(queries, candidates, scale)
    if left_out is not None:
        logits = logits.masked_fill(left_out, -torch.inf)
    return functional.cross_entropy(logits, labels)
