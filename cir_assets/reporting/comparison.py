"""Two published evaluations side by side: paired differences with intervals, and the queries gained and lost."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import polars as pl

from cir_assets.retrieval.bootstrap import RESAMPLES, Difference, paired_difference
from cir_assets.retrieval.metrics import MEAN_CATEGORY, category_means, metric_name
from cir_assets.retrieval.protocols import RECALL, SUBSET_RECALL, Protocol, protocol_named


class NotComparable(ValueError):
    """Evaluations that cannot be compared, or are not there; the message says why and what there is."""


@dataclass(frozen=True)
class MetricDifference:
    """One figure of both, in percent, and the second minus the first with a paired 95 % interval.

    ``gained`` and ``lost`` count the queries whose target came within k with one of them only.
    """

    metric: str
    first: float
    second: float
    difference: Difference
    gained: int
    lost: int


@dataclass(frozen=True)
class Comparison:
    """What the second evaluation has over the first, on the same queries.

    Attributes:
        protocol: of both.
        queries: how many both ranked.
        metrics: the protocol's recalls; average precision is not kept by query and so not compared.
        changes: one row a query: query_id, category, reference, caption, target, first_rank, second_rank, places
            (first minus second: positive is better), best first.
    """

    protocol: Protocol
    queries: int
    metrics: list[MetricDifference]
    changes: pl.DataFrame


def published_evaluation(
    connection: duckdb.DuckDBPyConnection, name: str, split: str, protocol: str
) -> pl.DataFrame:
    """The rankings of the newest evaluation called ``dataset/backbone/recipe/method``.

    Raises:
        NotComparable: when there is none, naming those there are.
    """
    parts = name.split("/")
    query = (
        "SELECT evaluation_id FROM leaderboard WHERE (dataset, backbone, recipe, method, split, protocol) = "
    )
    found = (
        connection.execute(f"{query}($1, $2, $3, $4, $5, $6)", [*parts, split, protocol]).fetchall()
        if len(parts) == 4
        else []
    )
    if not found:
        there = connection.execute(
            "SELECT DISTINCT concat_ws('/', dataset, backbone, recipe, method) FROM leaderboard "
            "WHERE split = $1 AND protocol = $2 ORDER BY 1",
            [split, protocol],
        ).fetchall()
        raise NotComparable(
            f"no evaluation {name!r} on {split} under {protocol}; expected dataset/backbone/recipe/method, there are: "
            + (", ".join(row[0] for row in there) or "none")
        )
    frame = pl.from_arrow(
        connection.sql(
            "SELECT * FROM rankings WHERE evaluation_id = $1 ORDER BY category, query_id",
            params=[found[0][0]],
        ).to_arrow_table()
    )
    assert isinstance(frame, pl.DataFrame)
    return frame


def compare_rankings(
    first: pl.DataFrame, second: pl.DataFrame, protocol: Protocol | str, *, resamples: int = RESAMPLES
) -> Comparison:
    """Compare two evaluations by query.

    Args:
        first: rows of the published table ``rankings`` of one evaluation; ranks begin at 1.
        second: of the other.
        protocol: of both.
        resamples: of the bootstrap over queries.

    Raises:
        NotComparable: when they share no query, or ask the same query for different targets.
    """
    protocol = protocol_named(protocol)
    both = first.join(second, on=["category", "query_id"], suffix="_second", maintain_order="left")
    if both.is_empty():
        raise NotComparable("the two evaluations share no query: they are of different data sets or splits")
    if not both["target"].equals(both["target_second"]):
        raise NotComparable("the two evaluations ask the same queries for different targets")
    categories = both["category"].to_list()
    recalls = [key for key in protocol.metrics if key[0] in (RECALL, SUBSET_RECALL)]
    hits = {key: [_within(both, key, side) for side in ("", "_second")] for key in recalls}
    metrics = [
        _difference(metric_name(key), hits[key][0], hits[key][1], categories, resamples) for key in recalls
    ]
    if set(protocol.headline) <= set(recalls):
        headline = [np.mean([hits[key][side] for key in protocol.headline], axis=0) for side in (0, 1)]
        metrics.insert(0, _difference("headline", headline[0], headline[1], categories, resamples))
    changes = both.select(
        "query_id",
        "category",
        "reference",
        "caption",
        "target",
        first_rank=pl.col("target_rank"),
        second_rank=pl.col("target_rank_second"),
        places=pl.col("target_rank") - pl.col("target_rank_second"),
    ).sort("places", "query_id", descending=[True, False])
    return Comparison(protocol, both.height, metrics, changes)


def _within(both: pl.DataFrame, key: tuple[str, int], side: str) -> np.ndarray:
    metric, k = key
    column = "target_rank" if metric == RECALL else "subset_rank"
    return (both[f"{column}{side}"].to_numpy() <= k).astype(np.float64)


def _difference(
    name: str, first: np.ndarray, second: np.ndarray, categories: list[str], resamples: int
) -> MetricDifference:
    means = category_means(np.column_stack([first, second]), categories)[MEAN_CATEGORY]
    return MetricDifference(
        name,
        float(means[0]),
        float(means[1]),
        paired_difference(second, first, categories, resamples=resamples),
        int((second > first).sum()),
        int((second < first).sum()),
    )
