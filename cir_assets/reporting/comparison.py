"""Two published evaluations side by side: paired differences with intervals, and the queries gained and lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest

import duckdb
import numpy as np
import polars as pl

from cir_assets.retrieval.bootstrap import RESAMPLES, Difference, paired_difference
from cir_assets.retrieval.metrics import MEAN_CATEGORY, average_precision, category_means, metric_name
from cir_assets.retrieval.protocols import (
    AVERAGE_PRECISION,
    DEFAULT_PROTOCOL,
    RECALL,
    MetricKey,
    Protocol,
    protocol_named,
)

DEFAULT_SPLIT = "val"


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
        metrics: the protocol's headline and metrics, as far as both can be taken query by query.
        changes: one row a query: query_id, category, reference, caption, target, first_rank, second_rank, nearer (the
            logarithm of first over second: positive is better, and from 100 to 10 is as much as from 10 to 1), and
            crossed, the smallest k of the protocol that the target came within with one of the two alone, or null.
            Those that crossed one come first, then the others, each by how much nearer.
        cut_offs: the protocol's k that crossing is told of.
        notes: what a reader must know of how far the two are alike, a sentence each.
    """

    protocol: Protocol
    queries: int
    metrics: list[MetricDifference]
    changes: pl.DataFrame
    cut_offs: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def nearer(self) -> pl.DataFrame:
        """The queries whose target came nearer: those that came within a k first, most in proportion first."""
        return self.changes.filter(pl.col("nearer") > 0)

    @property
    def further(self) -> pl.DataFrame:
        """The queries whose target went further: those that fell out of a k first, most in proportion first."""
        return self.changes.filter(pl.col("nearer") < 0)


@dataclass(frozen=True)
class PublishedEvaluation:
    """One evaluation as the published database holds it.

    Attributes:
        evaluation_id: its id.
        pipeline: dataset, backbone, recipe and method.
        split: val or test.
        protocol: its name.
        created_at: when, UTC.
        gallery_sizes: category -> pictures ranked; empty where it was written before they were kept.
        rankings: rows of the table ``rankings``, ordered by category and query_id; under a protocol of several
            targets also a column a cut-off, such as ``mean_average_precision@10``, 0 to 1.
        by_id: whether it was asked for by its id, and so may not be the newest.
    """

    evaluation_id: str
    pipeline: tuple[str, str, str, str]
    split: str
    protocol: str
    created_at: datetime
    gallery_sizes: Mapping[str, int]
    rankings: pl.DataFrame
    by_id: bool

    @property
    def label(self) -> str:
        """``dataset/backbone/recipe/method``, with id and time where it was asked for by id."""
        told = f" ({self.evaluation_id}, {self.created_at:%Y-%m-%d %H:%M} UTC)" if self.by_id else ""
        return "/".join(self.pipeline) + told

    def retrieved(self, connection: duckdb.DuckDBPyConnection, depth: int) -> pl.DataFrame:
        """Its ``depth`` best pictures a query: query_id, rank from 1, image."""
        return _frame(
            connection,
            "SELECT query_id, rank, image FROM retrieved WHERE evaluation_id = $1 AND rank <= $2 ORDER BY ALL",
            [self.evaluation_id, depth],
        )


def published_pair(
    connection: duckdb.DuckDBPyConnection,
    first: str,
    second: str,
    split: str | None = None,
    protocol: str | None = None,
) -> tuple[PublishedEvaluation, PublishedEvaluation]:
    """Two evaluations, each called ``dataset/backbone/recipe/method`` (the newest) or by its evaluation_id.

    Args:
        connection: the published database.
        first: name or id.
        second: name or id.
        split: of what is called by name; by default that of the one called by id, else val.
        protocol: of what is called by name; by default that of the one called by id, else fashioniq.

    Raises:
        NotComparable: when there is none of that name or id, naming those there are.
    """
    by_id = {name: _of_id(connection, name) for name in (first, second) if "/" not in name}
    like = next(iter(by_id.values()), None)
    split = split or (like.split if like else DEFAULT_SPLIT)
    protocol = protocol or (like.protocol if like else DEFAULT_PROTOCOL)
    before, after = (
        by_id.get(name) or _newest(connection, name, split, protocol) for name in (first, second)
    )
    return before, after


def _of_id(connection: duckdb.DuckDBPyConnection, evaluation_id: str) -> PublishedEvaluation:
    found = connection.execute(
        "SELECT evaluation_id FROM evaluations WHERE evaluation_id = $1", [evaluation_id]
    ).fetchall()
    if not found:
        raise NotComparable(
            f"no evaluation {evaluation_id!r}; name it dataset/backbone/recipe/method, or by an evaluation_id of "
            "the table evaluations"
        )
    return _evaluation(connection, evaluation_id, by_id=True)


def _newest(
    connection: duckdb.DuckDBPyConnection, name: str, split: str, protocol: str
) -> PublishedEvaluation:
    there = connection.execute(
        "SELECT concat_ws('/', dataset, backbone, recipe, method) AS name, split, protocol, evaluation_id "
        "FROM leaderboard ORDER BY ALL"
    ).fetchall()
    for *place, evaluation_id in there:
        if place == [name, split, protocol]:
            return _evaluation(connection, evaluation_id, by_id=False)
    elsewhere = [f"{s} under {p}" for each, s, p, _ in there if each == name]
    if elsewhere:
        raise NotComparable(
            f"{name} was not evaluated on {split} under {protocol}, but on {', '.join(elsewhere)}: say which split "
            "and protocol"
        )
    alike = [each for each, s, p, _ in there if (s, p) == (split, protocol)]
    raise NotComparable(
        f"no evaluation {name!r} on {split} under {protocol}; expected dataset/backbone/recipe/method or an "
        f"evaluation_id, there are: {', '.join(alike) or 'none'}"
    )


def _evaluation(
    connection: duckdb.DuckDBPyConnection, evaluation_id: str, *, by_id: bool
) -> PublishedEvaluation:
    dataset, backbone, recipe, method, split, protocol, created_at = connection.execute(
        "SELECT dataset, backbone, recipe, method, split, protocol, created_at FROM evaluations "
        "WHERE evaluation_id = $1",
        [evaluation_id],
    ).fetchall()[0]
    rankings = _frame(
        connection,
        "SELECT * FROM rankings WHERE evaluation_id = $1 ORDER BY category, query_id",
        [evaluation_id],
    )
    if rankings.is_empty():
        raise NotComparable(
            f"of evaluation {evaluation_id} only the figures are kept, not its rankings: newer ones of the same "
            "method, split and protocol took their place"
        )
    sizes = connection.execute(
        "SELECT DISTINCT category, gallery_size FROM metrics WHERE evaluation_id = $1 AND category <> $2 "
        "AND gallery_size IS NOT NULL",
        [evaluation_id, MEAN_CATEGORY],
    ).fetchall()
    evaluation = PublishedEvaluation(
        evaluation_id,
        (dataset, backbone, recipe, method),
        split,
        protocol,
        created_at,
        dict(sizes),
        rankings,
        by_id,
    )
    asked = protocol_named(protocol)
    if asked.averages_precision and not asked.counts_whole_rankings:
        return replace(evaluation, rankings=_with_average_precision(connection, evaluation))
    return evaluation


def _with_average_precision(
    connection: duckdb.DuckDBPyConnection, found: PublishedEvaluation
) -> pl.DataFrame:
    """The rankings with each query's average precision at each cut-off.

    It follows from the retrieved pictures and the data set's targets of today. Where these do not give the
    evaluation's own figures, the targets have changed since, and the rankings come back as they are.
    """
    rows = connection.execute(
        """
        WITH further AS (
            SELECT triplet_id, category, unnest(further_targets) AS image FROM triplets
            WHERE dataset = $2 AND split = $3),
        searched AS (
            SELECT triplet_id, list(image) AS images FROM further
            SEMI JOIN (SELECT * FROM galleries WHERE dataset = $2 AND split = $3) USING (category, image)
            GROUP BY triplet_id)
        SELECT r.target, coalesce(f.images, []), s.images
        FROM rankings AS r
        LEFT JOIN searched AS f ON f.triplet_id = r.query_id
        JOIN (SELECT query_id, list(image ORDER BY rank) AS images FROM retrieved WHERE evaluation_id = $1
              GROUP BY query_id) AS s ON s.query_id = r.query_id
        WHERE r.evaluation_id = $1 ORDER BY r.category, r.query_id
        """,
        [found.evaluation_id, found.pipeline[0], found.split],
    ).fetchall()
    if len(rows) != found.rankings.height:
        return found.rankings
    code = {
        image: number
        for number, image in enumerate(
            dict.fromkeys(i for target, further, best in rows for i in (target, *further, *best))
        )
    }

    def coded(lists: list[list[str]]) -> np.ndarray:
        padded = np.full((len(lists), max(map(len, lists))), -1)
        for row, images in enumerate(lists):
            padded[row, : len(images)] = [code[image] for image in images]
        return padded

    target = np.array([code[target] for target, _, _ in rows])
    further, best = coded([further for _, further, _ in rows]), coded([best for *_, best in rows])
    keys = [key for key in protocol_named(found.protocol).metrics if key[0] == AVERAGE_PRECISION]
    values = np.column_stack([average_precision(best, target, further, k) for _, k in keys])
    means = category_means(values, found.rankings["category"].to_list())[MEAN_CATEGORY]
    own = dict(
        connection.execute(
            "SELECT k, value FROM metrics WHERE evaluation_id = $1 AND metric = $2 AND category = $3",
            [found.evaluation_id, AVERAGE_PRECISION, MEAN_CATEGORY],
        ).fetchall()
    )
    if not np.allclose(means, [own.get(k, np.nan) for _, k in keys], atol=1e-6):
        return found.rankings
    return found.rankings.with_columns(
        pl.Series(metric_name(key), values[:, column]) for column, key in enumerate(keys)
    )


def compare_evaluations(
    first: PublishedEvaluation, second: PublishedEvaluation, *, resamples: int = RESAMPLES
) -> Comparison:
    """Compare two published evaluations by query, and say how far they are alike.

    Raises:
        NotComparable: when they are of different splits, protocols or galleries, or as :func:`compare_rankings`.
    """
    if first.evaluation_id == second.evaluation_id:
        raise NotComparable(
            f"{first.label} and {second.label} are the same evaluation, {first.evaluation_id}: there is no difference "
            "to tell; name another one, or an older one by its evaluation_id"
        )
    asked = [f"{each.split} under {each.protocol}" for each in (first, second)]
    if asked[0] != asked[1]:
        raise NotComparable(
            f"{first.label} is of {asked[0]}, {second.label} of {asked[1]}: only evaluations of one split and "
            "protocol can be compared"
        )
    for category, size in first.gallery_sizes.items():
        if second.gallery_sizes.get(category, size) != size:
            raise NotComparable(
                f"in {category} the first ranked {size:,} pictures and the second "
                f"{second.gallery_sizes[category]:,}: ranks in different galleries cannot be compared"
            )
    found = compare_rankings(first.rankings, second.rankings, first.protocol, resamples=resamples)
    if first.pipeline[0] == second.pipeline[0]:
        return found
    said = f"They are of two data sets, {first.pipeline[0]} and {second.pipeline[0]}."
    return replace(found, notes=(said, *found.notes))


def compare_rankings(
    first: pl.DataFrame, second: pl.DataFrame, protocol: Protocol | str, *, resamples: int = RESAMPLES
) -> Comparison:
    """Compare two evaluations by query.

    Queries only one of them ranked are left out, and queries asked in other words are kept; both are said in the
    comparison's notes.

    Args:
        first: rows of the published table ``rankings`` of one evaluation; ranks begin at 1.
        second: of the other.
        protocol: of both.
        resamples: of the bootstrap over queries.

    Raises:
        NotComparable: when they share no query, or ask the same query for different targets.
    """
    protocol = protocol_named(protocol)
    query = ["category", "query_id"]
    both = first.join(second, on=query, suffix="_second", maintain_order="left")
    if both.is_empty():
        raise NotComparable("the two evaluations share no query: they are of different data sets or splits")
    if not both["target"].equals(both["target_second"]):
        raise NotComparable("the two evaluations ask the same queries for different targets")
    notes = []
    only = [first.join(second, on=query, how="anti").height, second.join(first, on=query, how="anti").height]
    if any(only):
        notes.append(
            f"Compared are the {both.height:,} queries both ranked; {only[0]:,} of the first alone and {only[1]:,} "
            "of the second alone are left out."
        )
    reworded = both.filter(
        pl.any_horizontal(
            pl.col(side).ne_missing(pl.col(f"{side}_second")) for side in ("caption", "reference")
        )
    ).height
    if reworded:
        notes.append(
            f"{reworded:,} queries had another caption or reference in the first than in the second."
        )
    categories = both["category"].to_list()
    comparable = [
        key
        for key in protocol.metrics
        if key[0] != AVERAGE_PRECISION or f"{metric_name(key)}_second" in both.columns
    ]
    values = {key: [_contributed(both, key, side) for side in ("", "_second")] for key in comparable}
    metrics = [
        _difference(metric_name(key), values[key][0], values[key][1], categories, resamples)
        for key in comparable
    ]
    if set(protocol.headline) <= set(comparable):
        headline = [np.mean([values[key][side] for key in protocol.headline], axis=0) for side in (0, 1)]
        metrics.insert(0, _difference("headline", headline[0], headline[1], categories, resamples))
    else:
        because = (
            "it is over whole rankings, of which only the best are kept"
            if protocol.counts_whole_rankings
            else "the targets of today do not give the figures of both evaluations, so they have changed since"
        )
        notes.append(
            f"The headline ({', '.join(map(metric_name, protocol.headline))}) is not compared: {because}."
        )
    changes = both.select(
        "query_id",
        "category",
        "reference",
        "caption",
        "target",
        first_rank=pl.col("target_rank"),
        second_rank=pl.col("target_rank_second"),
        nearer=(pl.col("target_rank") / pl.col("target_rank_second")).log(),
    )
    cut_offs = _cut_offs(protocol)
    crossed = [
        pl.when((pl.col("first_rank") <= k) != (pl.col("second_rank") <= k)).then(pl.lit(k)) for k in cut_offs
    ]
    changes = changes.with_columns(crossed=pl.coalesce(*crossed, pl.lit(None, pl.Int32))).sort(
        pl.col("crossed").is_null(), -pl.col("nearer").abs(), "query_id"
    )
    if changes["first_rank"].equals(changes["second_rank"], check_names=False):
        notes.append("The two rank the target of every query alike.")
    return Comparison(protocol, both.height, metrics, changes, cut_offs, tuple(notes))


def _cut_offs(protocol: Protocol) -> tuple[int, ...]:
    """The k of recall that a protocol's headline counts, or of every recall where it counts none; smallest first."""
    found = {k for metric, k in protocol.headline if metric == RECALL}
    return tuple(sorted(found or {k for metric, k in protocol.metrics if metric == RECALL}))


def short_names(first: str, second: str) -> tuple[str, str]:
    """Two evaluations' names as far as they differ: of ``a/b/c/sum`` and ``a/b/c/combiner`` the last part."""
    parts = [
        pair for pair in zip_longest(first.split("/"), second.split("/"), fillvalue="") if pair[0] != pair[1]
    ]
    if not parts:
        return first, second
    one, other = ("/".join(filter(None, side)) for side in zip(*parts, strict=True))
    return one or first, other or second


def _frame(connection: duckdb.DuckDBPyConnection, query: str, values: list[object]) -> pl.DataFrame:
    return pl.DataFrame(connection.sql(query, params=values).to_arrow_table())


def _contributed(both: pl.DataFrame, key: MetricKey, side: str) -> np.ndarray:
    """What each query contributes to a metric of one side: float64 (Q,), 0 to 1."""
    metric, k = key
    if metric == AVERAGE_PRECISION:
        return both[f"{metric_name(key)}{side}"].to_numpy()
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
