"""Retrieval sheets: which queries are shown in pictures, and what stands on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from cir_assets.reporting.inputs import ReportInputs
from cir_assets.reporting.ladder import Ladder
from cir_assets.retrieval.methods import Method

BANDS = ("best", "median", "worst")

SHEET_SPLIT = "val"
"""The split whose queries are shown in pictures."""

SHOWN_RETRIEVED = 10
"""Retrieved pictures shown of each query."""


@dataclass(frozen=True)
class Result:
    """A retrieved picture: rank from 1, its id, its cosine with the query."""

    rank: int
    image: str
    score: float


@dataclass(frozen=True)
class Sheet:
    """One query in pictures.

    Attributes:
        band: "best", "median" or "worst".
        query_id: of the triplet.
        category: the gallery searched.
        reference: image id.
        caption: the relative caption as the model read it.
        target: image id.
        target_rank: from 1, of the method served.
        margin: cosine of the target less that of its strongest rival.
        text_weight: the Combiner's lambda; None where it was not kept, or none is learnt.
        ranks: method -> rank of the target, from 1, in the ladder's order.
        results: method -> its best pictures: the method served, then what would be without its last stages.
    """

    band: str
    query_id: str
    category: str
    reference: str
    caption: str
    target: str
    target_rank: int
    margin: float
    text_weight: float | None
    ranks: Mapping[str, int]
    results: Mapping[str, tuple[Result, ...]]

    @property
    def found(self) -> tuple[Result, ...]:
        """The best pictures of the method served."""
        return next(iter(self.results.values()), ())

    @property
    def images(self) -> list[str]:
        """Every picture on the sheet, each once."""
        shown = [result.image for results in self.results.values() for result in results]
        return list(dict.fromkeys([self.reference, self.target, *shown]))


def text_weights(rankings: pl.DataFrame) -> dict[str, float]:
    """The Combiner's lambda of each query: query id -> 0 (picture) to 1 (text).

    Args:
        rankings: rows of one evaluation.
    """
    if "text_weight" not in rankings.columns:
        return {}
    kept = rankings.filter(pl.col("text_weight").is_not_null() & pl.col("text_weight").is_not_nan())
    return dict(zip(kept["query_id"].to_list(), kept["text_weight"].to_list(), strict=True))


def queries_in_order(inputs: ReportInputs, evaluation_id: str) -> pl.DataFrame:
    """One evaluation's rankings, best query first, with the column ``margin``.

    The order is by rank of the target, then by margin (highest first), then by query id, so it is the same
    on every machine. The margin is the target's cosine less that of its strongest rival: the runner-up where
    the target came first, the winner elsewhere.

    Args:
        inputs: rankings and retrieved pictures.
        evaluation_id: of the method served.
    """
    own = pl.col("evaluation_id") == evaluation_id
    rankings = inputs.rankings.filter(own)
    # A query whose gallery is the target alone has no rival, so its margin is 0.
    rivals = (
        inputs.retrieved.filter(own & (pl.col("rank") <= 2))
        .join(rankings.select("query_id", "target"), on="query_id")
        .filter(pl.col("image") != pl.col("target"))
        .group_by("query_id")
        .agg(pl.col("score").max().alias("rival"))
    )
    return (
        rankings.join(rivals, on="query_id", how="left", maintain_order="left")
        .with_columns((pl.col("target_score") - pl.col("rival")).fill_null(0.0).alias("margin"))
        .sort(["target_rank", "margin", "query_id"], descending=[False, True, False])
    )


def chosen_places(queries: int, each: int) -> dict[str, range]:
    """Which places of an ordered list of queries are best, median and worst; none is two of these.

    Args:
        queries: how many there are.
        each: how many to show of a kind, fewer where there are not enough.

    Returns:
        "best", "median" and "worst" -> places from 0; the worst are to be read backwards.
    """
    if queries < 3:
        return {"best": range(min(queries, 1)), "median": range(0), "worst": range(1, queries)}
    each = min(each, queries // 3)
    middle = (queries - each) // 2
    return {
        "best": range(each),
        "median": range(middle, middle + each),
        "worst": range(queries - each, queries),
    }


def choose_sheets(inputs: ReportInputs, ladder: Ladder, each: int = 8) -> list[Sheet]:
    """The best, the median and the worst queries of the method served; the worst begin with the very worst.

    Args:
        inputs: rankings and retrieved pictures.
        ladder: of the split and protocol to show.
        each: how many of a kind.
    """
    if ladder.served is None:
        return []
    ordered = queries_in_order(inputs, ladder.evaluation_ids[ladder.served.name])
    picked: list[tuple[str, dict[str, Any]]] = []
    for band, places in chosen_places(ordered.height, each).items():
        for place in reversed(places) if band == "worst" else places:
            picked.append((band, ordered.row(place, named=True)))
    return _sheets(inputs, ladder, ladder.served, picked)


def sheet_of(inputs: ReportInputs, ladder: Ladder, query_id: str) -> Sheet:
    """One query of the method served in pictures.

    Args:
        inputs: rankings and retrieved pictures.
        ladder: of the split and protocol to show.
        query_id: one of its queries.
    """
    assert ladder.served is not None
    ordered = queries_in_order(inputs, ladder.evaluation_ids[ladder.served.name])
    row = ordered.filter(query_id=query_id).row(0, named=True)
    [sheet] = _sheets(inputs, ladder, ladder.served, [("best", row)])
    return sheet


def _sheets(
    inputs: ReportInputs, ladder: Ladder, served: Method, picked: Sequence[tuple[str, dict[str, Any]]]
) -> list[Sheet]:
    """Sheets of some queries, each as its band and its row of :func:`queries_in_order`."""
    weights = text_weights(pl.DataFrame([row for _, row in picked])) if picked else {}
    ids = [row["query_id"] for _, row in picked]
    ranks = _ranks(inputs, ladder, ids)
    before = [method.name for method in served.stages_before]
    methods = [served.name, *(method for method in before if method in ladder.evaluation_ids)]
    results = {method: _results(inputs, ladder.evaluation_ids[method], ids) for method in methods}
    return [
        Sheet(
            band=band,
            query_id=row["query_id"],
            category=row["category"],
            reference=row["reference"],
            caption=row["caption"],
            target=row["target"],
            target_rank=row["target_rank"],
            margin=row["margin"],
            text_weight=weights.get(row["query_id"]),
            ranks=ranks[row["query_id"]],
            results={method: results[method].get(row["query_id"], ()) for method in methods},
        )
        for band, row in picked
    ]


def _ranks(inputs: ReportInputs, ladder: Ladder, ids: list[str]) -> dict[str, dict[str, int]]:
    """Query id -> method -> rank of the target, methods in the ladder's order."""
    found: dict[str, dict[str, int]] = {query: {} for query in ids}
    for method, evaluation_id in ladder.evaluation_ids.items():
        rows = inputs.rankings.filter(
            (pl.col("evaluation_id") == evaluation_id) & pl.col("query_id").is_in(ids)
        )
        for query, rank in rows.select("query_id", "target_rank").iter_rows():
            found[query][method] = rank
    return found


def _results(inputs: ReportInputs, evaluation_id: str, ids: list[str]) -> dict[str, tuple[Result, ...]]:
    """Query id -> its best pictures by one method."""
    rows = inputs.retrieved.filter(
        (pl.col("evaluation_id") == evaluation_id)
        & pl.col("query_id").is_in(ids)
        & (pl.col("rank") <= SHOWN_RETRIEVED)
    ).sort("query_id", "rank")
    found: dict[str, list[Result]] = {}
    for query, rank, image, score in rows.select("query_id", "rank", "image", "score").iter_rows():
        found.setdefault(query, []).append(Result(rank, image, score))
    return {query: tuple(results) for query, results in found.items()}
