"""The nearest pictures of a query: exact, or approximate over a stated size."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

EXACT_UP_TO = 500_000
"""Pictures: over these many, and where faiss is installed, whole galleries are searched approximately."""

PROBED = 32
"""Of the index's lists, how many are looked through for a query."""

RECALL_QUERIES = 200
RECALL_DEPTH = 50


@dataclass(frozen=True)
class Found:
    """The best pictures of one query.

    Attributes:
        rows: int64 (k,), best first; of equal scores the earlier picture.
        scores: float32 (k,), cosines.
        exact: whether every picture was compared.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    exact: bool


class Index:
    """A gallery's unit features, searched by cosine.

    Memory is the matrix itself; a query reads it once. A query of one category, or one that leaves pictures out,
    is always exact.
    """

    def __init__(self, unit_features: NDArray[np.float32], *, exact_up_to: int = EXACT_UP_TO) -> None:
        """Take the features; over ``exact_up_to`` pictures an inverted-file index is built beside them.

        Args:
            unit_features: float32 (N, D), unit length.
            exact_up_to: pictures that are searched exactly.
        """
        self.features = torch.from_numpy(unit_features)
        self.approximate = None
        self.recall: float | None = None
        if len(unit_features) > exact_up_to and importlib.util.find_spec("faiss") is not None:
            self.approximate = _inverted_file(unit_features)
            self.recall = self._measured_recall()

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self.features)

    def scores(self, query: torch.Tensor) -> torch.Tensor:
        """Cosines (N,) of every picture with a unit query (D,)."""
        return torch.mv(self.features, query)

    def search(
        self, query: torch.Tensor, top: int, *, among: torch.Tensor | None = None, without: int | None = None
    ) -> Found:
        """The best pictures of a unit query (D,).

        Args:
            query: float32 (D,), unit length.
            top: how many.
            among: int64 (n,), rows that are searched; all if None.
            without: a row that is left out.
        """
        if self.approximate is not None and among is None:
            scores, rows = self.approximate.search(query.numpy()[None], top + 1)
            keep = (rows[0] >= 0) & (rows[0] != (-1 if without is None else without))
            return Found(rows[0][keep][:top].astype(np.int64), scores[0][keep][:top], exact=False)
        return self.exact(query, top, among=among, without=without)

    def exact(
        self, query: torch.Tensor, top: int, *, among: torch.Tensor | None = None, without: int | None = None
    ) -> Found:
        """As ``search``, every picture compared."""
        scores = self.scores(query)
        rows = torch.arange(len(scores)) if among is None else among
        if among is not None:
            scores = scores[among]
        if without is not None:
            scores = scores.masked_fill(rows == without, -torch.inf)
        available = len(scores) - int(without is not None and bool((rows == without).any()))
        best = torch.topk(scores, min(top, max(available, 0)))
        # topk leaves the order of equal scores open.
        order = np.lexsort((rows[best.indices].numpy(), -best.values.numpy()))
        return Found(rows[best.indices].numpy()[order], best.values.numpy()[order], exact=True)

    def _measured_recall(self) -> float:
        """Share of the exact best ``RECALL_DEPTH`` that the approximate index finds, over random gallery pictures."""
        assert self.approximate is not None
        drawn = np.random.default_rng(0).choice(len(self), min(RECALL_QUERIES, len(self)), replace=False)
        queries = self.features[torch.from_numpy(drawn)]
        _, found = self.approximate.search(queries.numpy(), RECALL_DEPTH)
        hits = [
            len(np.intersect1d(self.exact(query, RECALL_DEPTH).rows, rows))
            for query, rows in zip(queries, found, strict=True)
        ]
        return float(np.mean(hits)) / RECALL_DEPTH


def _inverted_file(features: NDArray[np.float32]):  # type: ignore[no-untyped-def]
    """An inverted-file index over whole vectors; about 4 sqrt(N) lists, trained on a sample."""
    import faiss

    lists = max(1, int(4 * len(features) ** 0.5))
    quantiser = faiss.IndexFlatIP(features.shape[1])
    index = faiss.IndexIVFFlat(quantiser, features.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = 0
    index.train(features)
    index.add(features)
    index.nprobe = min(PROBED, lists)
    return index
