"""The nearest pictures of a query: exact, or approximate over a stated size."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cir_assets.retrieval.ranking import best_of

LOG = logging.getLogger("cir_assets.serving")

EXACT_UP_TO = 500_000
"""Pictures: over these many, and where faiss is installed, whole galleries are searched approximately."""

PROBED = 32
"""Of the index's lists, how many are looked through for a query."""

CANDIDATES = 4
"""Times as many as are wanted come from the index's shortened vectors, and are compared whole."""

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

    Memory is the matrix itself, which a query reads once; an approximate index takes a quarter to a half of it more.
    A query of one category is always exact.

    Attributes:
        features: float32 (N, D), unit length.
        approximate: FAISS's index where there is one.
        recall: of the approximate index at ``RECALL_DEPTH`` against exact search, once measured.
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
        if len(unit_features) <= exact_up_to:
            return
        if importlib.util.find_spec("faiss") is None:
            LOG.warning(
                "%s pictures are more than %s and faiss is not installed: every query compares them all; "
                "pip install 'cir-assets[approximate]'",
                f"{len(unit_features):,}",
                f"{exact_up_to:,}",
            )
            return
        self.approximate = _inverted_file(unit_features)

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self.features)

    def scores(self, query: torch.Tensor) -> torch.Tensor:
        """Cosines (N,) of every picture with a unit query (D,)."""
        return torch.mv(self.features, query)

    def search(
        self,
        query: torch.Tensor,
        top: int,
        *,
        among: torch.Tensor | None = None,
        without: torch.Tensor | None = None,
    ) -> Found:
        """The best pictures of a unit query (D,).

        Args:
            query: float32 (D,), unit length.
            top: how many.
            among: int64 (n,), rows that are searched; all if None.
            without: bool (N,), true for rows that are left out.
        """
        if self.approximate is None or among is not None:
            return self.exact(query, top, among=among, without=without)
        wanted = CANDIDATES * (top + 1)
        while True:
            _, [found] = self.approximate.search(query.numpy()[None], min(wanted, len(self)))
            rows = torch.from_numpy(np.sort(found[found >= 0]))
            kept = rows if without is None else rows[~without[rows]]
            # Where many of those named are left out more are asked for, as long as there are more.
            if len(kept) >= top or len(rows) < wanted:
                return self._best(query, kept, torch.mv(self.features[kept], query), top, exact=False)
            wanted *= CANDIDATES

    def exact(
        self,
        query: torch.Tensor,
        top: int,
        *,
        among: torch.Tensor | None = None,
        without: torch.Tensor | None = None,
    ) -> Found:
        """As ``search``, every picture compared."""
        scores = self.scores(query)
        rows = torch.arange(len(scores)) if among is None else among
        if without is not None:
            rows = rows[~without[rows]]
        return self._best(query, rows, scores[rows], top, exact=True)

    def _best(
        self, query: torch.Tensor, rows: torch.Tensor, scores: torch.Tensor, top: int, *, exact: bool
    ) -> Found:
        """The ``top`` best of pictures ``rows`` (n,) with scores (n,), in the order evaluation ranks them."""
        return Found(*best_of(query, self.features, rows, scores, top), exact=exact)

    def measure_recall(self, queries: torch.Tensor) -> None:
        """Set ``recall``: the share of the exact best that the approximate index finds.

        Args:
            queries: float32 (Q, D), unit length, of the kind that will be asked. A gallery's own pictures would
                flatter: each lies in the very list that is looked through first.
        """
        hits = [
            np.isin(self.exact(query, RECALL_DEPTH).rows, self.search(query, RECALL_DEPTH).rows).mean()
            for query in queries
        ]
        self.recall = float(np.mean(hits))


def _inverted_file(features: NDArray[np.float32]):  # type: ignore[no-untyped-def]
    """An inverted file over vectors of one byte a number; about 4 sqrt(N) lists, trained on a sample."""
    import faiss

    lists = max(1, int(4 * len(features) ** 0.5))
    quantiser = faiss.IndexFlatIP(features.shape[1])
    index = faiss.IndexIVFScalarQuantizer(
        quantiser, features.shape[1], lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.seed = 0
    index.train(features)
    index.add(features)
    index.nprobe = min(PROBED, lists)
    return index
