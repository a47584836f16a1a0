"""What a ranking drawn at random scores under a protocol: the ground every figure stands on.

With n candidates each place is as likely as another for a picture, so a target is within the first k with probability
min(k, n) / n. With T true targets the expected average precision at k is

    1 / min(T, k) * sum over i = 1 ... min(k, n) of (T / n) * (1 + (i - 1) * (T - 1) / (n - 1)) / i

as place i holds a target with probability T / n, and each of the i - 1 places before it, given that, with probability
(T - 1) / (n - 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cir_assets.retrieval.protocols import AVERAGE_PRECISION, SUBSET_RECALL, WHOLE_RANKING, Protocol

if TYPE_CHECKING:
    from cir_assets.retrieval.metrics import Values
    from cir_assets.retrieval.protocols import QueryGroup
    from cir_assets.retrieval.ranking import Positions


def chance_values(protocol: Protocol, group: QueryGroup) -> Values:
    """What each query of a group is expected to contribute to each metric if its ranking is drawn at random.

    Args:
        protocol: the one the group was made for.
        group: Q queries with targets, over a gallery of G pictures; an excluded reference is no candidate.

    Returns:
        float64 (Q, M) in the order of ``protocol.metrics``, each 0 to 1.
    """
    candidates = len(group.gallery) - (group.excluded >= 0).astype(np.int64)
    columns = []
    for metric, k in protocol.metrics:
        if metric == AVERAGE_PRECISION and k == WHOLE_RANKING:
            columns.append(_whole_average_precision(candidates, _targets(group)))
        elif metric == AVERAGE_PRECISION:
            columns.append(_average_precision(candidates, _targets(group), k))
        elif metric == SUBSET_RECALL:
            columns.append(_recall(_ranked_members(group), k))
        elif protocol.any_target:
            columns.append(_recall_of_any(candidates, _targets(group), k))
        else:
            columns.append(_recall(candidates, k))
    return np.stack(columns, axis=1)


def learnt_something(lows: Sequence[float | None], chance: float | None) -> bool:
    """Whether any method's interval lies above what a random ranking gets; True where that is not known.

    Args:
        lows: lower ends of the methods' intervals, percent; None where there is none.
        chance: percent.
    """
    known = [low for low in lows if low is not None]
    return chance is None or not known or max(known) > chance


def _recall(candidates: Positions, k: int) -> Values:
    """Chance of one picture among n to be within the first k."""
    share: Values = np.minimum(k, candidates) / np.maximum(candidates, 1)
    return share


def _recall_of_any(candidates: Positions, targets: Positions, k: int) -> Values:
    """Chance that at least one of T pictures among n is within the first k: 1 - C(n - T, k) / C(n, k)."""
    missed = np.ones(len(candidates))
    for found in range(int(targets.max(initial=0))):
        left = np.maximum(candidates - k - found, 0) / np.maximum(candidates - found, 1)
        missed *= np.where(found < targets, left, 1.0)
    return 1.0 - missed


def _targets(group: QueryGroup) -> Positions:
    """How many true targets each query has: int64 (Q,)."""
    further = 0 if group.further_targets is None else (group.further_targets >= 0).sum(axis=1)
    count: Positions = (group.target >= 0).astype(np.int64) + further
    return count


def _ranked_members(group: QueryGroup) -> Positions:
    """How many of a query's image set are ranked, the target among them and an excluded reference not."""
    assert group.members is not None
    there = (group.members >= 0) & (group.members != group.excluded[:, None])
    count: Positions = there.sum(axis=1)
    return count


def _average_precision(candidates: Positions, targets: Positions, k: int) -> Values:
    """Expected average precision at k of T targets among n candidates."""
    places = np.arange(1, k + 1)[None, :]
    n, t = candidates[:, None], targets[:, None]
    hit = t / np.maximum(n, 1)
    before = (places - 1) * (t - 1) / np.maximum(n - 1, 1)
    precision = np.where(places <= n, hit * (1 + before) / places, 0.0).sum(axis=1)
    expected: Values = precision / np.minimum(targets, k)
    return expected


def _whole_average_precision(candidates: Positions, targets: Positions) -> Values:
    """Expected area below precision over recall, by the trapezoid rule, of T targets among n candidates.

    At place p another target stands with the chance T/n, and of the p - 1 before it each is one with the chance
    q = (T - 1)/(n - 1): the mean of the two precisions, summed over p.
    """
    n = candidates.astype(np.float64)
    q = (targets - 1) / np.maximum(n - 1, 1)
    harmonic = np.cumsum(1 / np.arange(1, max(int(n.max(initial=1)), 1) + 1))[candidates - 1]
    expected: Values = ((1 - q) * harmonic + n * q + 1 + (n - 1) * q) / (2 * n)
    return expected
