"""Percentile bootstrap over queries, resampled within their category.

What a query contributes takes few distinct values: it hits at some cut-offs and misses at others. Drawing Q
queries with replacement is the same as drawing from a multinomial distribution how many show each
distinct pattern, so 10,000 resamples cost a small table of counts and one matrix product. Where nearly every query
has a value of its own, as average precision does, the queries themselves are drawn and counted.
Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.

Where every query of a category contributes the same, as where all or none hit, drawing them anew shows nothing of how
few they are: the interval would have no width. There it is Wilson's score interval.
Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from cir_assets.retrieval.metrics import MEAN_CATEGORY, Values, category_means

RESAMPLES = 10_000
LEVEL = 0.95
SAME_PERCENT = 1e-9
"""Means of resamples that differ by no more are the same but for rounding."""

COUNTS_AT_ONCE = 1 << 21
"""Pattern counts held at once (16 MiB of int64)."""


@dataclass(frozen=True)
class Difference:
    """How much one model scores above another on the same queries, in percentage points.

    Attributes:
        value: first minus second.
        low: lower end of the confidence interval.
        high: upper end.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies wholly on one side of 0."""
        return self.low > 0 or self.high < 0


def resampled_means(
    values: Values, categories: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Values]:
    """Means of resampled queries, in percent.

    Args:
        values: float64 (Q, M), what each query contributes.
        categories: Q names; each category is resampled to its own size.
        resamples: R, how many times.
        seed: of numpy's PCG64 generator.

    Returns:
        category -> float64 (R, M), in order of appearance, and "mean": the plain mean over categories.

    Raises:
        ValueError: there are no queries, values and categories differ in length, or R is not positive.
    """
    if not len(values) or len(values) != len(categories) or resamples < 1:
        raise ValueError(
            f"a bootstrap needs queries, a category for each and at least one resample; "
            f"got {len(values)} queries, {len(categories)} categories, {resamples} resamples"
        )
    generator = np.random.default_rng(seed)
    labels = np.asarray(categories)
    means: dict[str, Values] = {}
    for category in dict.fromkeys(categories):
        patterns, counts = np.unique(values[labels == category], axis=0, return_counts=True)
        size = int(counts.sum())
        drawn = np.empty((resamples, values.shape[1]))
        if 2 * len(patterns) > size:
            # A multinomial draw costs a pattern several times what one of a query does.
            pattern = np.repeat(np.arange(len(patterns)), counts)
            for resample in range(resamples):
                picks = pattern[generator.integers(0, size, size, dtype=np.int32)]
                drawn[resample] = np.bincount(picks, minlength=len(patterns)) @ patterns
        else:
            step = max(1, COUNTS_AT_ONCE // len(patterns))
            for start in range(0, resamples, step):
                some = min(step, resamples - start)
                drawn[start : start + some] = generator.multinomial(size, counts / size, some) @ patterns
        means[category] = 100.0 * drawn / size
    means[MEAN_CATEGORY] = np.mean(list(means.values()), axis=0)
    return means


def confidence_intervals(
    values: Values,
    categories: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Mapping[str, npt.NDArray[np.float64]]:
    """95 % intervals of every mean, in percent: percentile, and Wilson's where no query differs from another.

    Args:
        values: float64 (Q, M), what each query contributes.
        categories: Q names.
        resamples: how many times the queries are drawn anew.
        seed: of numpy's PCG64 generator.

    Returns:
        category -> float64 (M, 2), lower and upper end; "mean" for the mean over categories.

    Raises:
        ValueError: as :func:`resampled_means`.
    """
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    means = resampled_means(values, categories, resamples=resamples, seed=seed)
    sizes = Counter(categories)
    # The mean over C categories of n_c queries is as sure as one over C squared / sum(1 / n_c) of them.
    sizes_of_means = {**sizes, MEAN_CATEGORY: len(sizes) ** 2 / sum(1 / size for size in sizes.values())}
    intervals = {}
    for category, drawn in means.items():
        interval = np.quantile(drawn, ends, axis=0).T
        same = np.ptp(drawn, axis=0) < SAME_PERCENT
        interval[same] = wilson_interval(drawn[0, same] / 100, sizes_of_means[category])
        intervals[category] = interval
    return intervals


def wilson_interval(share: Values, queries: float) -> Values:
    """Wilson's 95 % score interval, in percent.

    Args:
        share: float64 (M,), of queries that hit, 0 to 1. Of what takes values between, its mean: as no such value
            varies more than hits and misses of the same mean do, the interval is rather too wide.
        queries: how many there are.

    Returns:
        float64 (M, 2), lower and upper end.
    """
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    middle = (share + z**2 / (2 * queries)) / (1 + z**2 / queries)
    arm = z / (1 + z**2 / queries) * np.sqrt(share * (1 - share) / queries + z**2 / (4 * queries**2))
    # Where all or none hit one end is the figure itself, which rounding must not carry it past.
    return 100.0 * np.stack(
        [np.clip(middle - arm, 0, share), np.maximum(np.minimum(middle + arm, 1), share)], axis=1
    )


def paired_difference(
    first: Values,
    second: Values,
    categories: Sequence[str],
    *,
    resamples: int = RESAMPLES,
) -> Difference:
    """Difference of two models' means on the same queries, both drawn together in each resample.

    Args:
        first: float64 (Q,), what each query contributes with the one model, 0 to 1.
        second: float64 (Q,), with the other, in the same order.
        categories: Q names; the mean over categories is compared.
        resamples: how many times the queries are drawn anew.

    Raises:
        ValueError: the lengths differ, or as :func:`confidence_intervals`.
    """
    if np.shape(first) != np.shape(second) or np.ndim(first) != 1:
        raise ValueError(
            f"paired values must be two lists of equal length, got {np.shape(first)}, {np.shape(second)}"
        )
    gain = (np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64))[:, None]
    drawn = resampled_means(gain, categories, resamples=resamples)[MEAN_CATEGORY][:, 0]
    ends = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    value = category_means(gain, categories)[MEAN_CATEGORY][0]
    return Difference(float(value), float(ends[0]), float(ends[1]))
