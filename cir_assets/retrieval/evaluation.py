"""Everything an evaluation records, under one protocol or several, in one pass over the galleries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch
from torch import Tensor

from cir_assets.retrieval.bootstrap import RESAMPLES, Difference, confidence_intervals, paired_difference
from cir_assets.retrieval.chance import chance_values
from cir_assets.retrieval.metrics import (
    MEAN_CATEGORY,
    Values,
    category_means,
    headline_values,
    per_query_values,
)
from cir_assets.retrieval.protocols import HEADLINE, MetricKey, Protocol, QueryGroup, protocol_named
from cir_assets.retrieval.ranking import Positions, Ranking, View, search, search_each, subset_order

RETRIEVED_DEPTH = 50
"""How many of the best candidates are kept for each query."""

UNIT_LENGTH_TOLERANCE = 1e-3
"""How far a norm may be from 1: features normalised in float16 stay within it, raw ones do not."""

RANKINGS_SCHEMA = pl.Schema(
    {
        "query_id": pl.String,
        "category": pl.String,
        "reference_row": pl.Int64,
        "caption": pl.String,
        "target_row": pl.Int64,
        "target_rank": pl.Int32,
        "target_score": pl.Float32,
        "subset_rank": pl.Int32,
    }
)
"""One row a query. The *_row columns are rows of the feature matrix; ranks are 0-based, after the exclusion;
target_score is the cosine, both of the true target put first where any of several will do; subset_rank is null where
the protocol has no subset."""

RETRIEVED_SCHEMA = pl.Schema(
    {
        "query_id": pl.String,
        "category": pl.String,
        "rank": pl.Int32,
        "image_row": pl.Int64,
        "score": pl.Float32,
    }
)
"""One row a query and rank (0-based, best first), ``RETRIEVED_DEPTH`` of them or a whole smaller gallery."""

METRICS_SCHEMA = pl.Schema(
    {
        "category": pl.String,
        "metric": pl.String,
        "k": pl.Int32,
        "value": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "chance": pl.Float64,
    }
)
"""One row a category and metric, in percent. Category "mean" is the plain mean over categories; the headline,
which is of the mean alone, has k 0; chance is what a ranking drawn at random gets."""


@dataclass(frozen=True)
class Evaluation:
    """One model's results on one split under one protocol.

    Attributes:
        protocol: its definition.
        rankings: frame as ``RANKINGS_SCHEMA``, Q rows in the order of the groups.
        retrieved: frame as ``RETRIEVED_SCHEMA``.
        metrics: frame as ``METRICS_SCHEMA``.
        headline: percent.
        gallery_sizes: category -> pictures actually ranked.
        left_out: what could not take part, as reason -> how many, over all groups.
        values: float64 (Q, M), what each query contributes to each of the protocol's metrics.
    """

    protocol: Protocol
    rankings: pl.DataFrame
    retrieved: pl.DataFrame
    metrics: pl.DataFrame
    headline: float
    gallery_sizes: Mapping[str, int]
    left_out: Mapping[str, int]
    values: Values

    @property
    def queries(self) -> int:
        """How many queries were ranked."""
        return self.rankings.height

    @property
    def gallery_size(self) -> int:
        """Pictures in all galleries together."""
        return sum(self.gallery_sizes.values())


def evaluate(
    protocol: Protocol | str,
    groups: Sequence[QueryGroup],
    queries: Tensor | np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    features: Tensor | np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    *,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Rank every query's target, keep the best candidates, and sum up with 95 % intervals.

    Args:
        protocol: a protocol or its name, the one the groups were made for.
        groups: the queries.
        queries: float32 (Q, D), unit length, in the order of the groups' captions.
        features: float32 (N, D), unit length; galleries are rows of it.
        resamples: of the bootstrap.

    Raises:
        ValueError: the number of queries does not fit, features are not of unit length or not finite, or
            there are no queries.
    """
    protocol = protocol_named(protocol)
    [found] = evaluate_each({protocol.name: groups}, queries, features, resamples=resamples)
    return found


def evaluate_each(
    asked: Mapping[str, Sequence[QueryGroup]],
    queries: Tensor | np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    features: Tensor | np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    *,
    resamples: int = RESAMPLES,
) -> list[Evaluation]:
    """Evaluate the same queries under several protocols from one pass of products, each as ``evaluate`` would.

    Args:
        asked: protocol -> its groups, which ``same_queries`` says go together.
        queries: float32 (Q, D), unit length, in the order of the groups' captions.
        features: float32 (N, D), unit length; galleries are rows of it.
        resamples: of the bootstrap.

    Returns:
        An evaluation a protocol, in the order of ``asked``.

    Raises:
        ValueError: as ``evaluate``, and when the protocols do not ask the same queries.
    """
    protocols = [protocol_named(name) for name in asked]
    first, *others = asked.values()
    if not all(same_queries(first, other) for other in others):
        raise ValueError(
            f"{', '.join(asked)} ask different queries of this data set; evaluate them one by one"
        )
    queries, features = torch.as_tensor(queries), torch.as_tensor(features)
    sizes = [len(group) for group in first]
    if sum(sizes) != len(queries) or not len(queries):
        raise ValueError(f"the groups hold {sum(sizes)} queries, got {len(queries)} query features")
    _require_unit_length("query", queries)
    depth = max(RETRIEVED_DEPTH, *(protocol.depth for protocol in protocols))
    parts = torch.split(queries, sizes)
    ranked = [
        _ranked_each(groups, part, features, depth)
        for part, *groups in zip(parts, *asked.values(), strict=True)
        if len(part)
    ]
    return [
        summed_up(protocol, groups, [each[place] for each in ranked], resamples=resamples)
        for place, (protocol, groups) in enumerate(zip(protocols, asked.values(), strict=True))
    ]


def same_queries(first: Sequence[QueryGroup], second: Sequence[QueryGroup]) -> bool:
    """Whether two protocols' groups are the same queries, each gallery within the other's, so that one pass does."""
    return len(first) == len(second) and all(
        not (one.any_target or other.any_target)
        and one.category == other.category
        and one.query_ids == other.query_ids
        and one.captions == other.captions
        and np.array_equal(one.reference, other.reference)
        and _one_within_the_other(one.gallery, other.gallery)
        for one, other in zip(first, second, strict=True)
    )


def _one_within_the_other(one: Positions, other: Positions) -> bool:
    smaller, larger = sorted((one, other), key=len)
    return bool(np.isin(smaller, larger).all())


def _ranked_each(
    groups: Sequence[QueryGroup], queries: Tensor, features: Tensor, depth: int
) -> list[Ranking]:
    """Rank one category's queries in the gallery of each of its groups; positions are those of that gallery."""
    for group in groups:
        _require_targets(group)
    widest = max(groups, key=lambda group: len(group.gallery))
    gallery = features[torch.from_numpy(widest.gallery).to(features.device)]
    _require_unit_length("gallery", gallery)
    queries = queries.to(gallery.device)
    if len(groups) == 1:
        target = ranked_target(widest, queries, gallery)
        return [search(queries, gallery, target, widest.excluded, k=depth, members=widest.members)]
    places = [_places_in(widest.gallery, group.gallery) for group in groups]
    views = [
        View(
            excluded=_moved(group.excluded, place),
            inside=None if len(place) == len(gallery) else np.isin(np.arange(len(gallery)), place),
            members=None if group.members is None else _moved(group.members, place),
        )
        for group, place in zip(groups, places, strict=True)
    ]
    found = search_each(queries, gallery, widest.target, views, k=depth)
    return [
        replace(ranked, positions=_moved(ranked.positions, _places_in(place, np.arange(len(gallery)))))
        for ranked, place in zip(found, places, strict=True)
    ]


def _places_in(whole: Positions, some: Positions) -> Positions:
    """Where each of some numbers stands among others, each there once; -1 where it does not."""
    order = np.argsort(whole)
    found = order[np.searchsorted(whole, some, sorter=order).clip(max=len(whole) - 1)]
    return np.where(whole[found] == some, found, -1)


def _moved(positions: Positions, to: Positions) -> Positions:
    """Positions of one gallery as those of another, given where each stands there; -1 stays."""
    moved: Positions = np.where(positions >= 0, to[positions], -1)
    return moved


def summed_up(
    protocol: Protocol | str,
    groups: Sequence[QueryGroup],
    ranked: Sequence[Ranking],
    *,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Sum rankings up, whoever made them.

    Args:
        protocol: a protocol or its name, the one the groups were made for.
        groups: the queries, each with a target.
        ranked: of each group that has queries, in their order.
        resamples: of the bootstrap.

    Raises:
        ValueError: there are no queries, or one without a target.
    """
    protocol = protocol_named(protocol)
    left_out: Counter[str] = Counter()
    for group in groups:
        _require_targets(group)
        left_out.update(group.left_out)
    held = [group for group in groups if len(group)]
    if not held:
        raise ValueError("there are no queries to evaluate")
    values = np.concatenate(
        [
            per_query_values(
                protocol,
                found.target_rank,
                found.subset_rank,
                found.positions,
                group.target,
                group.further_targets,
            )
            for group, found in zip(held, ranked, strict=True)
        ]
    )
    categories = [group.category for group in held for _ in range(len(group))]
    chance = np.concatenate([chance_values(protocol, group) for group in held])
    metrics = metric_frame(protocol, values, categories, chance, resamples=resamples)
    return Evaluation(
        protocol=protocol,
        rankings=pl.concat(map(_ranking_frame, held, ranked)),
        retrieved=pl.concat(map(_retrieved_frame, held, ranked)),
        metrics=metrics,
        headline=metrics.filter(pl.col("metric") == HEADLINE)["value"].item(),
        gallery_sizes={group.category: len(group.gallery) for group in held},
        left_out=dict(sorted(left_out.items())),
        values=values,
    )


def ranked_target(group: QueryGroup, queries: Tensor, gallery: Tensor) -> Positions:
    """The target whose rank counts, int64 (Q,): the one named, or whichever true target is first where any will do.

    Args:
        group: of Q queries, each with a target.
        queries: (Q, D), unit length.
        gallery: (G, D), unit length, on the same device.
    """
    if not group.any_target or group.further_targets is None:
        return group.target
    true = np.column_stack([group.target, group.further_targets])
    ordered, _ = subset_order(queries, gallery, true, np.full(len(group), -1, dtype=np.int64))
    first: Positions = ordered[:, 0]
    return first


def metric_frame(
    protocol: Protocol | str,
    values: Values,
    categories: Sequence[str],
    chance: Values,
    *,
    resamples: int = RESAMPLES,
) -> pl.DataFrame:
    """Sum up what each query contributes.

    Args:
        protocol: a protocol or its name.
        values: float64 (Q, M), each 0 to 1.
        categories: Q names.
        chance: float64 (Q, M), what each query contributes if it is ranked at random.
        resamples: of the bootstrap.

    Returns:
        Frame as ``METRICS_SCHEMA``: each category, then the mean over categories, then the headline.

    Raises:
        ValueError: there are no queries.
    """
    protocol = protocol_named(protocol)
    # The headline is a mean of columns, so as a column of its own it is resampled together with them.
    columns = np.column_stack([values, headline_values(protocol, values)])
    means = category_means(columns, categories)
    drawn = category_means(np.column_stack([chance, headline_values(protocol, chance)]), categories)
    ends = confidence_intervals(columns, categories, resamples=resamples)
    rows = []
    for category, figures in means.items():
        keys: tuple[MetricKey, ...] = protocol.metrics
        if category == MEAN_CATEGORY:
            keys = (*keys, (HEADLINE, 0))
        for column, (metric, k) in enumerate(keys):
            low, high = ends[category][column]
            rows.append((category, metric, k, figures[column], low, high, drawn[category][column]))
    return pl.DataFrame(rows, schema=METRICS_SCHEMA, orient="row")


def compare(first: Evaluation, second: Evaluation) -> Difference:
    """How much the first model's headline is above the second's on the same queries, with a paired 95 % interval.

    Args:
        first: one evaluation.
        second: another of the same protocol and queries.

    Raises:
        ValueError: the two are of different protocols or queries.
    """
    if first.protocol != second.protocol:
        raise ValueError(
            f"evaluations of {first.protocol.name} and {second.protocol.name} cannot be compared"
        )
    same = first.rankings.select("query_id", "category").equals(
        second.rankings.select("query_id", "category")
    )
    if not same or first.gallery_sizes != second.gallery_sizes:
        raise ValueError("evaluations of different queries or galleries cannot be compared")
    pair = [headline_values(first.protocol, evaluation.values) for evaluation in (first, second)]
    categories = first.rankings["category"].to_list()
    return paired_difference(pair[0], pair[1], categories)


def _require_targets(group: QueryGroup) -> None:
    if (group.target < 0).any():
        raise ValueError(
            f"category {group.category!r} has queries without a target, which cannot be evaluated"
        )


def _ranking_frame(group: QueryGroup, found: Ranking) -> pl.DataFrame:
    """Lay out one row a query as ``RANKINGS_SCHEMA``."""
    return pl.DataFrame(
        {
            "query_id": group.query_ids,
            "category": [group.category] * len(group),
            "reference_row": group.reference,
            "caption": group.captions,
            "target_row": group.gallery[group.target],
            "target_rank": found.target_rank,
            "target_score": found.target_score,
            "subset_rank": [None] * len(group) if found.subset_rank is None else found.subset_rank,
        }
    ).cast(RANKINGS_SCHEMA)


def _retrieved_frame(group: QueryGroup, found: Ranking) -> pl.DataFrame:
    """Lay out one row a query and rank as ``RETRIEVED_SCHEMA``."""
    positions, scores = found.positions[:, :RETRIEVED_DEPTH], found.scores[:, :RETRIEVED_DEPTH]
    depth = positions.shape[1]
    present = positions.reshape(-1) >= 0
    query = np.repeat(np.arange(len(group)), depth)[present]
    return pl.DataFrame(
        {
            "query_id": pl.Series(group.query_ids).gather(query),
            "category": pl.Series([group.category]).gather(np.zeros(len(query), dtype=np.int64)),
            "rank": np.tile(np.arange(depth), len(group))[present],
            "image_row": group.gallery[positions.reshape(-1)[present]],
            "score": scores.reshape(-1)[present],
        }
    ).cast(RETRIEVED_SCHEMA)


def _require_unit_length(name: str, features: Tensor) -> None:
    """Refuse features that are not of unit length: their ranking would be wrong without a sign of it."""
    norms = torch.linalg.vector_norm(features.float(), dim=1)
    wrong = (~((norms - 1).abs() <= UNIT_LENGTH_TOLERANCE)).nonzero().flatten()
    if wrong.numel():
        row = int(wrong[0])
        raise ValueError(
            f"{wrong.numel()} of {len(features)} {name} features are not of unit length (first: row {row}, "
            f"norm {float(norms[row]):.4g}); divide each by its norm before evaluating"
        )
