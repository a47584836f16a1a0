"""From ranks to figures: what each query scores, and the means in percent."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from cir_assets.retrieval.protocols import (
    AVERAGE_PRECISION,
    RECALL,
    SUBSET_RECALL,
    WHOLE_RANKING,
    MetricKey,
    Protocol,
    protocol_named,
)
from cir_assets.retrieval.protocols import (
    metric_name as metric_name,
)

if TYPE_CHECKING:
    from cir_assets.retrieval.ranking import Positions

MEAN_CATEGORY = "mean"
"""The category of a row that is the plain mean over all categories."""

SelectionMean = Literal["headline", "arithmetic", "harmonic", "geometric"]
"""Ways to sum several figures up when the best epoch is picked."""

Values = npt.NDArray[np.float64]


def average_precision(
    retrieved: Positions, target: Positions, further_targets: Positions | None, k: int
) -> Values:
    """Average precision at k with several true targets, as CIRCO counts it.

    The precision at each true target within the first k, summed, over the smaller of k and the number of
    true targets (github.com/miccunifi/CIRCO, src/evaluation.py).

    Args:
        retrieved: int64 (Q, at least k unless the gallery is smaller), best first, -1 for none.
        target: int64 (Q,), the first true target.
        further_targets: int64 (Q, T), padded with -1, or None.
        k: the cut-off.

    Returns:
        float64 (Q,), 0 to 1.
    """
    hits, true = _hits(retrieved[:, :k], target, further_targets)
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    possible = np.minimum((true >= 0).sum(axis=1), k)
    found: Values = (precision * hits).sum(axis=1) / possible
    return found


def whole_average_precision(
    retrieved: Positions, target: Positions, further_targets: Positions | None
) -> Values:
    """Average precision over a whole ranking with several true targets, as i-CIR counts it.

    The area below precision over recall by the trapezoid rule: at each true target the precision there and just
    before it, halved (``compute_ap`` of github.com/billpsomas/icir, but for the 1e-5 it adds to a divisor).

    Args:
        retrieved: int64 (Q, the whole gallery), best first, -1 for none.
        target: int64 (Q,), the first true target.
        further_targets: int64 (Q, T), padded with -1, or None.

    Returns:
        float64 (Q,), 0 to 1.
    """
    hits, true = _hits(retrieved, target, further_targets)
    places = np.arange(1, retrieved.shape[1] + 1)
    found = np.cumsum(hits, axis=1)
    before = np.where(places == 1, 1.0, (found - 1) / np.maximum(places - 1, 1))
    steps = (found / places + before) / 2
    area: Values = (steps * hits).sum(axis=1) / (true >= 0).sum(axis=1)
    return area


def _hits(
    retrieved: Positions, target: Positions, further_targets: Positions | None
) -> tuple[npt.NDArray[np.bool_], Positions]:
    """Which of the retrieved, (Q, k), are true targets, and those, (Q, 1 + T), padded with -1."""
    true = np.asarray(target)[:, None]
    if further_targets is not None:
        true = np.concatenate([true, further_targets], axis=1)
    hits = np.zeros(retrieved.shape, dtype=bool)
    # One true target after another: all at once is galleries times targets.
    for column in true.T:
        hits |= (retrieved == column[:, None]) & (retrieved >= 0)
    return hits, true


def per_query_values(
    protocol: Protocol | str,
    target_rank: Positions,
    subset_rank: Positions | None = None,
    retrieved: Positions | None = None,
    target: Positions | None = None,
    further_targets: Positions | None = None,
) -> Values:
    """Return what each query contributes to each of the protocol's metrics: their means are the figures.

    Args:
        protocol: a protocol or its name.
        target_rank: int64 (Q,), 0-based.
        subset_rank: int64 (Q,), needed for subset recalls.
        retrieved: int64 (Q, depth), needed for average precision, as are ``target`` and ``further_targets``.
        target: int64 (Q,), position of the first true target.
        further_targets: int64 (Q, T), padded with -1, or None.

    Returns:
        float64 (Q, M) in the order of ``protocol.metrics``, each 0 to 1.

    Raises:
        ValueError: an argument the protocol needs is absent.
    """
    protocol = protocol_named(protocol)
    columns: list[npt.NDArray[np.generic]] = []
    for metric, k in protocol.metrics:
        if metric == RECALL:
            columns.append(np.asarray(target_rank) < k)
        elif metric == SUBSET_RECALL and subset_rank is not None:
            columns.append(np.asarray(subset_rank) < k)
        elif metric == AVERAGE_PRECISION and retrieved is not None and target is not None:
            columns.append(
                whole_average_precision(retrieved, target, further_targets)
                if k == WHOLE_RANKING
                else average_precision(retrieved, target, further_targets, k)
            )
        else:
            raise ValueError(f"protocol {protocol.name!r} measures {metric}@{k}, whose ranks were not given")
    return np.stack(columns, axis=1).astype(np.float64)


def headline_values(protocol: Protocol | str, values: Values) -> Values:
    """Return what each query contributes to the headline: float64 (Q,), 0 to 1, from ``values`` (Q, M)."""
    protocol = protocol_named(protocol)
    found: Values = values[:, [protocol.metrics.index(key) for key in protocol.headline]].mean(axis=1)
    return found


def category_means(values: Values, categories: Sequence[str]) -> dict[str, Values]:
    """Means in percent of each category, in order of appearance, and over categories under "mean".

    Args:
        values: float64 (Q, M), each 0 to 1.
        categories: Q names.

    Returns:
        category -> float64 (M,). The mean gives each category the same weight, whatever its size.

    Raises:
        ValueError: there are no queries.
    """
    names = list(dict.fromkeys(categories))
    if not names:
        raise ValueError("there are no queries to take a mean over")
    labels = np.asarray(categories)
    means = {name: 100.0 * values[labels == name].mean(axis=0) for name in names}
    means[MEAN_CATEGORY] = np.mean([means[name] for name in names], axis=0)
    return means


def headline(protocol: Protocol | str, figures: Mapping[MetricKey, float]) -> float:
    """Mean of the protocol's headline metrics, in percent, from the mean figures over categories.

    FashionIQ: (R@10 + R@50)/2; CIRR: (R@5 + Rs@1)/2; CIRCO: mAP@10; Shoes and Fashion200k: R@1, 10 and 50; GeneCIS:
    Rs@1; LaSCo: R@10; i-CIR: mAP.
    """
    return statistics.fmean(figures[key] for key in protocol_named(protocol).headline)


def selection_mean(
    protocol: Protocol | str, figures: Mapping[MetricKey, float], kind: SelectionMean = "headline"
) -> float:
    """Sum a model's figures up to pick the best epoch.

    Args:
        protocol: a protocol or its name.
        figures: mean figures over categories, percent, for each of the protocol's metrics.
        kind: the headline, or the arithmetic, harmonic or geometric mean of all the metrics.

    Returns:
        Percent. The harmonic and the geometric mean are 0 when any figure is 0, as early epochs may be.

    Raises:
        ValueError: ``kind`` is none of these.
    """
    protocol = protocol_named(protocol)
    every = [figures[key] for key in protocol.metrics]
    if kind == "headline":
        return headline(protocol, figures)
    if kind == "arithmetic":
        return statistics.fmean(every)
    if kind not in ("harmonic", "geometric"):
        raise ValueError(f"no mean {kind!r}; there are headline, arithmetic, harmonic and geometric")
    if min(every) <= 0:
        return 0.0
    return statistics.harmonic_mean(every) if kind == "harmonic" else statistics.geometric_mean(every)
