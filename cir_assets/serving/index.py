"""The nearest pictures of a query: exact, or approximate over a stated size."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cir_assets.retrieval.ranking import best_of, best_of_each

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

    def scores(self, queries: torch.Tensor) -> torch.Tensor:
        """Cosines (Q, N) of every picture with unit queries (Q, D)."""
        if len(queries) == 1:
            return torch.mv(self.features, queries[0])[None]
        return queries @ self.features.T

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
            among: int64 (n,), rows that are searched, ascending; all if None.
            without: int64 (w,), rows that are left out.
        """
        if self.approximate is None or among is not None:
            return self.exact(query, top, among=among, without=without)
        left_out = np.empty(0, np.int64) if without is None else without.numpy()
        wanted = CANDIDATES * (top + 1)
        while True:
            _, [found] = self.approximate.search(query.numpy()[None], min(wanted, len(self)))
            named = np.sort(found[found >= 0])
            kept = torch.from_numpy(np.setdiff1d(named, left_out, assume_unique=True))
            # Where many of those named are left out more are asked for, as long as there are more.
            if len(kept) >= top or len(named) < wanted:
                products = torch.mv(self.features[kept], query)
                return Found(*best_of(query, self.features, kept, products, top), exact=False)
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
        scores = self.scores(query[None])
        if without is not None:
            scores[0, without] = -torch.inf
        [found] = self.best(query[None], scores if among is None else scores[:, among], top, among)
        return found

    def best(
        self, queries: torch.Tensor, scores: torch.Tensor, top: int, rows: torch.Tensor | None = None
    ) -> list[Found]:
        """The best of each of some unit queries (Q, D), of products at hand, in the order evaluation ranks them.

        Args:
            queries: float32 (Q, D), unit length.
            scores: float32 (Q, n), their products with the pictures; -inf where one is left out.
            top: how many.
            rows: int64 (n,), the pictures' rows, ascending; all if None.
        """
        found = best_of_each(queries, self.features, scores, top, rows)
        return [Found(*each, exact=True) for each in found]

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
