"""What one modality alone solves: queries that picture or text finds by itself, and recall on those that need both.

The view ``one_modality`` of the published database says the same of every pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from cir_assets.reporting.ladder import Ladder
from cir_assets.retrieval.methods import IMAGE_ONLY, TEXT_ONLY
from cir_assets.retrieval.protocols import RECALL


@dataclass(frozen=True)
class OneModality:
    """Of the queries of one split and protocol, what is found within k; percent.

    Attributes:
        k: the cut-off.
        queries: how many there are, all categories together.
        image_only: those the picture alone finds.
        text_only: those the text alone finds.
        both: those each of the two finds by itself.
        queries_left: how many need both.
        recall: method -> what it finds of all.
        recall_left: method -> what it finds of those that need both; None where none is left.
    """

    k: int
    queries: int
    image_only: float
    text_only: float
    both: float
    queries_left: int
    recall: Mapping[str, float]
    recall_left: Mapping[str, float | None]

    @property
    def either(self) -> float:
        """Those that one of the two finds by itself."""
        return self.image_only + self.text_only - self.both

    @property
    def neither(self) -> float:
        """Those that need both."""
        return 100.0 - self.either


def one_modality(ladder: Ladder, rankings: pl.DataFrame) -> list[OneModality]:
    """What one modality alone finds at each k whose recall the protocol counts; empty where that is not known.

    Args:
        ladder: whose evaluations to take.
        rankings: evaluation_id, category, query_id, target_rank (from 1).
    """
    cut_offs = [k for metric, k in ladder.metrics if metric == RECALL]
    if not {IMAGE_ONLY.name, TEXT_ONLY.name} <= set(ladder.methods) or not cut_offs:
        return []
    names = {evaluation: method for method, evaluation in ladder.evaluation_ids.items()}
    ranks = (
        rankings.filter(pl.col("evaluation_id").is_in(list(names)))
        .with_columns(method=pl.col("evaluation_id").replace(names))
        .pivot("method", index=["category", "query_id"], values="target_rank")
    )
    if ranks.is_empty():
        return []
    methods = [method for method in ladder.methods if method in ranks.columns]
    if not {IMAGE_ONLY.name, TEXT_ONLY.name} <= set(methods):
        return []
    found = []
    for k in cut_offs:
        hits = ranks.select((pl.col(method) <= k).fill_null(False) for method in methods)
        image, text = hits[IMAGE_ONLY.name], hits[TEXT_ONLY.name]
        left = hits.filter(~(image | text))
        found.append(
            OneModality(
                k=k,
                queries=hits.height,
                image_only=_percent(image),
                text_only=_percent(text),
                both=_percent(image & text),
                queries_left=left.height,
                recall={method: _percent(hits[method]) for method in methods},
                recall_left={method: _percent(left[method]) if left.height else None for method in methods},
            )
        )
    return found


def _percent(hits: pl.Series) -> float:
    return 100.0 * int(hits.sum()) / max(len(hits), 1)
