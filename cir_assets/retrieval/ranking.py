"""Ranks of the target, and the best candidates, by blocked matrix products.

One rule orders every gallery, on every machine: the candidate with the greater score is ahead, and of
two candidates with equal scores the one that stands earlier in the gallery. Exact ties are real (several
ids share one picture), and a float32 matrix product does not even give equal rows equal scores: the
result depends on the block shape, the number of threads and the processor. So the product is only a sieve.
It settles every pair whose scores differ by more than its rounding error can explain; the few pairs
left are scored again by :func:`exact_scores`, whose result depends on the two vectors alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Positions = npt.NDArray[np.int64]
"""Positions in a gallery, or rows of a feature matrix: int64, -1 where there is none."""

_Rows = TypeVar("_Rows", npt.NDArray[np.float64], Tensor)

BLOCK_SCORES = 1 << 21
"""Scores held at once (8 MiB of float32): large enough for an efficient product, small enough for cache."""

GALLERY_BLOCK = 1 << 12
"""Candidates scored at once: at usual dimensions they stay in cache while every query passes them."""

GPU_BLOCKS = 1 << 5
"""How many times larger blocks are on a GPU, where starting a kernel costs more than leaving the cache."""

STRETCH = 64
"""Candidates whose greatest score is compared with the last one kept before theirs are."""

PAIR_VALUES = 1 << 16
"""Products held at once while single pairs are scored (512 KiB of float64): they stay in cache."""

SPARE_CANDIDATES = 8
"""How many more than ``k`` candidates the sieve keeps, to tell that none it left behind is among the best."""


@dataclass(frozen=True)
class Ranking:
    """What one pass over a gallery tells about Q queries.

    Attributes:
        target_rank: int64 (Q,), how many candidates are ahead of the target; -1 where no target is known.
        target_score: float32 (Q,), the target's score; NaN where no target is known or scores were not asked for.
        subset_rank: int64 (Q,), how many other members of the query's image set are ahead of the target, 0 to 4
            for CIRR's sets of six; None where no sets were given.
        positions: int64 (Q, k), the best candidates, best first; -1 beyond the end of a small gallery.
        scores: float32 (Q, k), their scores; NaN where the position is -1.
    """

    target_rank: Positions
    target_score: npt.NDArray[np.float32]
    subset_rank: Positions | None
    positions: Positions
    scores: npt.NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """One way to rank queries in a gallery of G pictures; several of them cost little more than one.

    Attributes:
        excluded: int64 (Q,), a position that the query's ranking leaves out, or -1; None: nothing.
        inside: bool (G,), what of the gallery is ranked at all; None: all of it.
        members: int64 (Q, M), positions of each query's image set, padded with -1; None without sets.
    """

    excluded: Positions | None = None
    inside: npt.NDArray[np.bool_] | None = None
    members: Positions | None = None


@dataclass(frozen=True)
class _ScoreBlock:
    """float32 scores (b, g) of the queries ``rows`` and the candidates from position ``start`` on.

    ``flags`` is room of the same shape to compare in. Both are written over when the next block is made.
    """

    rows: slice
    start: int
    scores: Tensor
    flags: Tensor


def unit_length(features: Tensor) -> Tensor:
    """Scale each row to L2 norm 1.

    Args:
        features: (N, D), any float type.

    Returns:
        float32 (N, D).

    Raises:
        ValueError: a row is zero or not finite, so that it has no direction.
    """
    features = features.float()
    norms = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    without = (~(torch.isfinite(norms) & (norms > 0))).flatten().nonzero().flatten()
    if without.numel():
        raise ValueError(
            f"{without.numel()} of {len(features)} features are zero or not finite (first: row "
            f"{int(without[0])}), so they have no direction to compare; encode these rows again"
        )
    scaled: Tensor = features / norms
    return scaled


def exact_scores(queries: Tensor, gallery: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
    """Inner products of single (query, candidate) pairs that depend on the two vectors alone.

    Products of float32 numbers are exact in float64; they are added by folding the row in halves, so the
    order of the additions is fixed by D, whatever the block, device or number of threads. Equal
    candidates get equal scores.

    Args:
        queries: float32 (Q, D).
        gallery: float32 (G, D).
        rows: int64 (P,), the query of each pair.
        positions: int64 (P,), the candidate of each pair.

    Returns:
        float64 (P,), on the device of the queries.
    """
    step = max(1, PAIR_VALUES * _larger(queries.device) // max(queries.shape[1], 1))
    parts = [slice(start, start + step) for start in range(0, len(rows), step)]
    if queries.device.type != "cpu":
        found = [_folded(queries[rows[p]].double().mul_(gallery[positions[p]])) for p in parts]
        return torch.cat(found) if found else torch.empty(0, dtype=torch.float64, device=queries.device)
    # numpy on the CPU: these steps are too small to share among threads, and waiting for each other on busy
    # cores makes torch's threads several times slower than one.
    left, right, of, at = queries.numpy(), gallery.numpy(), rows.numpy(), positions.numpy()
    scores = np.empty(len(of), dtype=np.float64)
    for part in parts:
        products = left[of[part]].astype(np.float64)
        products *= right[at[part]]
        scores[part] = _folded(products)
    return torch.from_numpy(scores)


def _folded(products: _Rows) -> _Rows:
    """Add up each row of (P, D) products, second half onto first until one column is left; overwrites them."""
    width = products.shape[1]
    while width > 1:
        half = (width + 1) // 2
        products[:, : width - half] += products[:, half:width]
        width = half
    return products[:, 0] if width else products.sum(1)


def top_k(
    queries: Tensor,
    gallery: Tensor,
    k: int,
    excluded: Positions | None = None,
) -> tuple[Positions, npt.NDArray[np.float32]]:
    """Find the k best candidates of each query, best first, in the same order that ranks are counted in.

    Args:
        queries: (Q, D), unit length.
        gallery: (G, D), unit length, on the same device.
        k: how many; a smaller gallery gives fewer.
        excluded: int64 (Q,), a position to leave out, or -1.

    Returns:
        positions int64 (Q, min(k, G)) and scores float32 of the same shape; where the exclusion leaves
        too few candidates the row ends with position -1 and score NaN.

    Raises:
        ValueError: shapes do not fit, a position is outside the gallery, or a score cannot be finite.
    """
    found = search(queries, gallery, None, excluded, k=k)
    return found.positions, found.scores


def search(
    queries: Tensor,
    gallery: Tensor,
    target: Positions | None,
    excluded: Positions | None = None,
    *,
    k: int = 50,
    members: Positions | None = None,
    with_scores: bool = True,
    block: int | None = None,
) -> Ranking:
    """Rank the target, also within its image set, and find the best candidates in one pass over the gallery.

    Args:
        queries: (Q, D), unit length.
        gallery: (G, D), unit length, on the same device.
        target: int64 (Q,), the target's position in the gallery, -1 where none is known; or None.
        excluded: int64 (Q,), a position to leave out of the ranking, or -1; or None.
        k: how many of the best candidates to return (0: none).
        members: int64 (Q, M), positions of each query's image set, distinct in a row, padded with -1, the target
            among them; what is excluded may be among them and does not count. None: no sets.
        with_scores: whether the targets' exact scores are wanted; the same ranks without them cost less.
        block: how many queries are scored at once; chosen by the size of the gallery if None.

    Raises:
        ValueError: shapes do not fit, a position is outside the gallery, a target is excluded from its
            own ranking or not in its set, or a score cannot be finite.
    """
    view = View(excluded, None, members)
    [found] = _search(queries, gallery, target, [view], k=k, with_scores=with_scores, block=block)
    return found


def search_each(
    queries: Tensor, gallery: Tensor, target: Positions, views: Sequence[View], *, k: int = 50
) -> list[Ranking]:
    """What ``search`` tells of each of several views of one gallery, from one pass of products.

    A smaller gallery is counted beside the whole, and a picture that a view leaves out is compared with the target by
    itself, so that ranks, order and scores are those of a search in the view alone.

    Args:
        queries: (Q, D), unit length.
        gallery: (G, D), unit length, on the same device.
        target: int64 (Q,), the target's position in the gallery, inside every view.
        views: how it is ranked.
        k: how many of the best candidates to return.

    Returns:
        A ranking a view; positions are those of the gallery.

    Raises:
        ValueError: as ``search``, and when a target is outside a view.
    """
    return _search(queries, gallery, target, views, k=k, with_scores=True, block=None)


def _search(
    queries: Tensor,
    gallery: Tensor,
    target: Positions | None,
    views: Sequence[View],
    *,
    k: int,
    with_scores: bool,
    block: int | None,
) -> list[Ranking]:
    """One pass over the gallery, for ``search`` and ``search_each``."""
    queries, gallery, margin = _checked_features(queries, gallery)
    count, size = len(queries), len(gallery)
    if k < 0 or (block is not None and block < 1):
        raise ValueError(f"k must not be negative and block must be positive, got k={k}, block={block}")
    none = np.full(count, -1, dtype=np.int64)
    wanted = _checked_positions("target", none if target is None else target, count, size)
    looks = [_checked_look(view, wanted, count, size, queries.device) for view in views]
    wanted = wanted.to(queries.device)
    # What every view leaves out never enters; what one of several does is taken from its ranking afterwards.
    together = len(looks) > 1
    left_out = torch.full_like(wanted, -1) if together else looks[0].excluded
    smaller = [look.inside for look in looks if look.inside is not None]
    inside = torch.stack([torch.ones_like(smaller[0]), *smaller], dim=1).float() if smaller else None

    ranks = torch.zeros(count, 1 + len(smaller), dtype=torch.int64, device=queries.device)
    subset = [torch.zeros(count, dtype=torch.int64, device=queries.device) for _ in looks]
    target_score = torch.full((count,), torch.nan, dtype=torch.float64, device=queries.device)
    with_target = (wanted >= 0).nonzero().flatten()
    width = min(k, size)
    kept = _Kept(count, _kept_depth(width, looks, size), queries.device)
    # Autocast would take the product in half precision, whose error the margins do not allow for.
    with torch.no_grad(), torch.autocast(queries.device.type, enabled=False):
        if with_scores:
            target_score[with_target] = about = exact_scores(
                queries, gallery, with_target, wanted[with_target]
            )
            apart = margin
        else:
            about = torch.linalg.vecdot(queries[with_target], gallery[wanted[with_target]]).double()
            apart = 2 * margin
        near_target = torch.full_like(target_score, torch.nan).index_copy_(0, with_target, about)
        for part in _score_blocks(queries, gallery, left_out, block, kept.depth):
            here = part.rows
            if with_target.numel():
                goal = _Goal(queries[here], gallery, wanted[here], near_target[here], apart[here], inside)
                ranks[here] += goal.count_ahead(part)
                for look, found in zip(looks, subset, strict=True):
                    if look.sets is not None:
                        found[here] += goal.count_ahead_in_sets(part, look.sets[here])
            kept.add(part)
        kept.merge()
        best = _best(kept, queries, gallery, looks, margin, width)
        columns = iter(range(1, 1 + len(smaller)))
        rankings = []
        for look, among_set, (positions, scores) in zip(looks, subset, best, strict=True):
            ahead = ranks[:, 0 if look.inside is None else next(columns)]
            if together:
                ahead = ahead - look.excluded_ahead(queries, gallery, wanted, target_score)
            rankings.append(
                Ranking(
                    target_rank=torch.where(wanted >= 0, ahead, -1).cpu().numpy(),
                    target_score=target_score.float().cpu().numpy(),
                    subset_rank=None if look.sets is None else among_set.cpu().numpy(),
                    positions=positions.cpu().numpy(),
                    scores=scores.cpu().numpy(),
                )
            )
    return rankings


def _kept_depth(width: int, looks: Sequence[_Look], size: int) -> int:
    """How many candidates the sieve keeps so that, but for a few queries, every view finds its best among them."""
    if not width:
        return 0
    needed = width + SPARE_CANDIDATES + (len(looks) > 1)
    shares = [float(look.inside.float().mean()) for look in looks if look.inside is not None]
    # A seventh more, as those inside do not stand evenly among the best.
    return min(size, max([needed, *(int(needed / max(share, 1e-3) * 1.15) + 8 for share in shares)]))


def best_of(
    query: Tensor, gallery: Tensor, rows: Tensor, scores: Tensor, k: int
) -> tuple[Positions, npt.NDArray[np.float32]]:
    """The k best of some candidates of one query, in the order that ``search`` ranks them.

    For whoever has their products already, a search server that leaves some out: the products only choose whose exact
    scores decide.

    Args:
        query: float32 (D,), unit length.
        gallery: float32 (G, D), unit length.
        rows: int64 (n,), positions of the candidates, each once.
        scores: float32 (n,), their products with the query.
        k: how many; fewer candidates give fewer.

    Returns:
        positions int64 (min(k, n),) and scores float32, best first; of equal exact scores the earlier position.
    """
    k = min(k, len(rows))
    if not k:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    floor = torch.topk(scores, k).values[-1] - 2 * _unit_margin(gallery)
    positions, exact = _order_exactly(query[None], gallery, rows[scores >= floor][None])
    return positions[0, :k].numpy(), exact[0, :k].float().numpy()


def best_of_each(
    queries: Tensor, gallery: Tensor, scores: Tensor, k: int, positions: Tensor | None = None
) -> list[tuple[Positions, npt.NDArray[np.float32]]]:
    """The k best candidates of each of some queries, in the order that ``search`` ranks them.

    As :func:`best_of` for many at once. A stretch of candidates is looked into only where its greatest product is
    near the k-th greatest of all stretches, which no product of the k best is below.

    Args:
        queries: float32 (Q, D), unit length.
        gallery: float32 (G, D), unit length.
        scores: float32 (Q, n), products of the queries with the candidates; -inf where one is left out.
        k: how many; fewer candidates give fewer.
        positions: int64 (n,), the candidates' positions, ascending; all of the gallery if None.

    Returns:
        Of each query positions int64 (at most k,) and scores float32, best first; of equal exact scores the earlier
        position.
    """
    width = scores.shape[1]
    if not width or not len(queries):
        return [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in queries]
    stretch = STRETCH if width >= 2 * k * STRETCH else 1
    whole = width // stretch * stretch
    stretches = scores[:, :whole].reshape(len(scores), -1, stretch)
    greatest = stretches.amax(dim=2) if stretch > 1 else scores
    floor = greatest.topk(min(k, greatest.shape[1]), dim=1).values[:, -1:] - 2 * _unit_margin(gallery)
    rows, places = (greatest >= floor).nonzero(as_tuple=True)
    near = stretches[rows, places]
    inside, columns = ((near >= floor[rows]) & ~near.isneginf()).nonzero(as_tuple=True)
    behind = scores[:, whole:]
    later_rows, later = ((behind >= floor) & ~behind.isneginf()).nonzero(as_tuple=True)
    of = torch.cat((rows[inside], later_rows))
    at = torch.cat((places[inside] * stretch + columns, later + whole))
    of, order = of.sort(stable=True)
    at = at[order] if positions is None else positions[at[order]]
    counts = torch.bincount(of, minlength=len(queries))
    slots = torch.arange(len(of)) - (counts.cumsum(0) - counts)[of]
    candidates = torch.full((len(queries), int(counts.max())), -1)
    candidates[of, slots] = at
    ordered, exact = _order_exactly(queries, gallery, candidates)
    kept = counts.clamp(max=k).tolist()
    return [
        (its[:n].numpy(), values[:n].float().numpy())
        for its, values, n in zip(ordered, exact, kept, strict=True)
    ]


def place_among(
    query: Tensor, gallery: Tensor, rows: Tensor, scores: Tensor, target: int
) -> tuple[int, float]:
    """The place of one candidate among some of a query, from 1, and its score, by the rule of ``search``.

    Args:
        query: float32 (D,), unit length.
        gallery: float32 (G, D), unit length.
        rows: int64 (n,), positions of the candidates, each once, the target among them.
        scores: float32 (n,), their products with the query.
        target: its position.
    """
    [score] = exact_scores(query[None], gallery, torch.zeros(1, dtype=torch.int64), torch.tensor([target]))
    apart = 2 * _unit_margin(gallery)
    near = rows[(scores.double() - score).abs() <= apart]
    exact = exact_scores(query[None], gallery, torch.zeros_like(near), near)
    ahead = int((scores.double() - score > apart).sum())
    ahead += int(((exact > score) | ((exact == score) & (near < target))).sum())
    return ahead + 1, float(score)


def _unit_margin(gallery: Tensor) -> float:
    """As ``_checked_features`` has it, for vectors of unit length."""
    return (gallery.shape[1] + 8) * 1.02 * _unit_roundoff() + 1e-30


def subset_order(
    queries: Tensor, gallery: Tensor, members: Positions, reference: Positions
) -> tuple[Positions, npt.NDArray[np.float32]]:
    """Order the members of each query's image set, best first, without the reference.

    Args:
        queries: (Q, D), unit length.
        gallery: (G, D), unit length, on the same device.
        members: int64 (Q, M), positions, distinct in a row, padded with -1.
        reference: int64 (Q,), position to leave out, or -1.

    Returns:
        positions int64 (Q, M), padded with -1 at the end, and scores float32 (Q, M), NaN there.

    Raises:
        ValueError: shapes do not fit, or a position is outside the gallery.
    """
    queries, gallery, _ = _checked_features(queries, gallery)
    count, size = len(queries), len(gallery)
    members = np.asarray(members, dtype=np.int64)
    if members.ndim != 2:
        raise ValueError(f"members must be (queries, set size), got shape {members.shape}")
    held = _checked_positions("members", members.reshape(-1), count * members.shape[1], size)
    candidates = held.reshape(members.shape).to(queries.device)
    left_out = _checked_positions("reference", reference, count, size).to(queries.device)
    candidates = torch.where(candidates == left_out[:, None], -1, candidates)
    ordered, scores = _order_exactly(queries, gallery, candidates)
    return ordered.cpu().numpy(), scores.float().cpu().numpy()


def _score_blocks(
    queries: Tensor, gallery: Tensor, left_out: Tensor, block: int | None, least: int
) -> Iterator[_ScoreBlock]:
    """Yield the scores of ``block`` queries and some candidates at a time; a candidate left out scores -inf.

    The first candidates of every query come before any later ones, and at least ``least`` of them.
    """
    larger = _larger(queries.device)
    width = max(GALLERY_BLOCK * larger, least)
    for start in range(0, len(gallery), width):
        candidates = gallery[start : start + width]
        step = block or min(1024 * larger, max(64, BLOCK_SCORES * larger // len(candidates)))
        room = queries.new_empty(2, min(step, len(queries)), len(candidates))
        for first in range(0, len(queries), step):
            rows = slice(first, min(first + step, len(queries)))
            scores, flags = room[:, : rows.stop - first]
            torch.mm(queries[rows], candidates.T, out=scores)
            column = left_out[rows] - start
            without = ((column >= 0) & (column < len(candidates))).nonzero().flatten()
            scores[without, column[without]] = -torch.inf
            yield _ScoreBlock(rows, start, scores, flags)


@dataclass(frozen=True)
class _Goal:
    """What the candidates of a block are told apart by: the targets of its queries, whose scores are known nearly.

    Attributes:
        queries: float32 (b, D).
        gallery: float32 (G, D).
        wanted: int64 (b,), the targets' positions, -1 where none is known; counts mean nothing there.
        score: float64 (b,), about the targets' scores; NaN where no target is known.
        margin: float64 (b,), the largest error of that and of a score in the block together.
        inside: float32 (G, C) of 0 and 1, what is counted apart, the first column all; None: all alone.
    """

    queries: Tensor
    gallery: Tensor
    wanted: Tensor
    score: Tensor
    margin: Tensor
    inside: Tensor | None = None

    def count_ahead(self, part: _ScoreBlock) -> Tensor:
        """Count the block's candidates ahead of each target: int64 (b, C), one column where all are counted alone."""
        low, high = self._bounds()
        # Flags as floats: their sum is several times as quick as that of booleans, and exact.
        torch.gt(part.scores, high, out=part.flags)
        if self.inside is None:
            ahead = part.flags.sum(dim=1, keepdim=True)
        else:
            ahead = part.flags @ self.inside[part.start : part.start + part.flags.shape[1]]
        unsure = torch.ge(part.scores, low, out=part.flags).sum(dim=1) - ahead[:, 0]
        column = self.wanted - part.start
        unsure -= ((column >= 0) & (column < part.scores.shape[1])).float()
        rows = (unsure > 0).nonzero().flatten()
        scores = part.scores[rows]
        near = ((scores >= low[rows]) & (scores <= high[rows])).nonzero()
        rows, positions = self._ahead_of_near(rows[near[:, 0]], near[:, 1] + part.start)
        counted = (
            torch.ones_like(positions)[:, None] if self.inside is None else self.inside[positions].long()
        )
        return ahead.long().index_add_(0, rows, counted)

    def count_ahead_in_sets(self, part: _ScoreBlock, sets: Tensor) -> Tensor:
        """Count the members (b, M) of each query's set that are in the block and ahead of the target: int64 (b,)."""
        low, high = self._bounds()
        columns = sets - part.start
        inside = (columns >= 0) & (columns < part.scores.shape[1])
        scores = part.scores.gather(1, columns.clamp(0, part.scores.shape[1] - 1))
        surely = inside & (scores > high)
        rows, places = (inside & (scores >= low) & ~surely).nonzero(as_tuple=True)
        better, _ = self._ahead_of_near(rows, sets[rows, places])
        return surely.sum(dim=1).index_add_(0, better, torch.ones_like(better))

    def _bounds(self) -> tuple[Tensor, Tensor]:
        """Scores in the block from which on a candidate may be, and above which it must be, ahead: (b, 1) each."""
        low, high = self.score - self.margin, self.score + self.margin
        return low.float()[:, None], high.float()[:, None]

    def _ahead_of_near(self, rows: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Of some pairs too near for the block to tell, those that are ahead exactly: rows and positions."""
        others = positions != self.wanted[rows]
        rows, positions = rows[others], positions[others]
        scores = exact_scores(self.queries, self.gallery, rows, positions)
        own = exact_scores(self.queries, self.gallery, rows, self.wanted[rows])
        better = (scores > own) | ((scores == own) & (positions < self.wanted[rows]))
        return rows[better], positions[better]


@dataclass(frozen=True)
class _Look:
    """A view, checked, as tensors on the device.

    Attributes:
        excluded: int64 (Q,), or -1.
        inside: bool (G,), or None for all.
        sets: int64 (Q, M), without what is excluded; or None.
        possible: int64 (Q,), how many candidates there are.
    """

    excluded: Tensor
    inside: Tensor | None
    sets: Tensor | None
    possible: Tensor

    def holds(self, positions: Tensor) -> Tensor:
        """Which of some positions (b, c), -1 for none, of all queries are ranked: bool (b, c)."""
        held = (positions >= 0) & (positions != self.excluded[:, None])
        return held if self.inside is None else held & self.inside[positions.clamp(min=0)]

    def excluded_ahead(
        self, queries: Tensor, gallery: Tensor, wanted: Tensor, target_score: Tensor
    ) -> Tensor:
        """Whether what is excluded would be ahead of the target, had it been ranked: int64 (Q,), 0 or 1."""
        ahead = torch.zeros_like(wanted)
        rows = ((self.excluded >= 0) & (wanted >= 0)).nonzero().flatten()
        if self.inside is not None:
            rows = rows[self.inside[self.excluded[rows]]]
        scores = exact_scores(queries, gallery, rows, self.excluded[rows])
        own = target_score[rows]
        better = (scores > own) | ((scores == own) & (self.excluded[rows] < wanted[rows]))
        ahead[rows] = better.long()
        return ahead


class _Kept:
    """The best candidates so far: float32 scores (Q, depth) in descending order, and int64 positions.

    What later blocks add waits until it is as much as is kept: a last one that is not the newest lets a few
    candidates more wait, but merging, which costs most, then happens each time the gallery looked through doubles.
    """

    def __init__(self, count: int, depth: int, device: torch.device) -> None:
        self.depth = depth
        self.values = torch.full((count, depth), -torch.inf, device=device)
        self.positions = torch.full((count, depth), -1, dtype=torch.int64, device=device)
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []
        """Queries int64 (n,), positions int64 (n,) and scores float32 (n,) of each block that had some."""
        self._count = 0

    def add(self, part: _ScoreBlock) -> None:
        """Take in a block: the first whole, of later ones only what is above the last one kept."""
        if not self.depth:
            return
        if part.start == 0:
            self.values[part.rows], self.positions[part.rows] = part.scores.topk(self.depth, dim=1)
            return
        last = self.values[part.rows, -1:]
        width = part.scores.shape[1]
        # Most stretches hold nothing above: the greatest of each tells, for one quick pass over the scores.
        stretch = STRETCH if width % STRETCH == 0 else width
        stretches = part.scores.view(len(part.scores), -1, stretch)
        queries, places = (stretches.amax(dim=2) > last).nonzero(as_tuple=True)
        if not len(queries):
            return
        scores = stretches[queries, places]
        rows, columns = (scores > last[queries]).nonzero(as_tuple=True)
        positions = places[rows] * stretch + columns + part.start
        self._waiting.append((queries[rows] + part.rows.start, positions, scores[rows, columns]))
        self._count += len(rows)
        if self._count >= self.values.numel():
            self.merge()

    def merge(self) -> None:
        """Take what waits among the kept."""
        if not self._waiting:
            return
        queries, positions, scores = (torch.cat(each) for each in zip(*self._waiting, strict=True))
        self._waiting, self._count = [], 0
        queries, order = queries.sort()
        counts = torch.bincount(queries, minlength=len(self.values))
        slots = torch.arange(len(queries), device=queries.device) - (counts.cumsum(0) - counts)[queries]
        fresh = _Kept(len(self.values), int(counts.max()), queries.device)
        fresh.values[queries, slots] = scores[order]
        fresh.positions[queries, slots] = positions[order]
        merged = torch.cat((self.values, fresh.values), dim=1).topk(self.depth, dim=1)
        together = torch.cat((self.positions, fresh.positions), dim=1)
        self.values, self.positions = merged.values, together.gather(1, merged.indices)


def _best(
    kept: _Kept, queries: Tensor, gallery: Tensor, looks: Sequence[_Look], margin: Tensor, width: int
) -> list[tuple[Tensor, Tensor]]:
    """Each view's best of the candidates kept: positions int64 (Q, width) and scores float32, both in order.

    Only those whose float32 score may put them among the best are scored exactly, those of several views once.
    """
    positions = torch.where(torch.isneginf(kept.values), -1, kept.positions)
    if not width or not len(queries):
        return [(positions[:, :width], kept.values[:, :width])] * len(looks)
    chosen, behind = torch.zeros_like(positions, dtype=torch.bool), []
    for look in looks:
        held = look.holds(positions)
        at_width = held & (held.cumsum(dim=1) == width)
        # Of fewer than are wanted every one may be among the best, and so may one that was not kept.
        floor = torch.where(at_width, kept.values, -torch.inf).amax(dim=1) - 2 * margin
        chosen |= held & (kept.values >= floor[:, None])
        behind.append(((held.sum(dim=1) < look.possible) & (kept.values[:, -1] >= floor)).nonzero().flatten())
    among = _packed(positions, _places(chosen, int(chosen.sum(dim=1).amax())))
    ordered, exact = _order_exactly(queries, gallery, among)
    found = []
    for look, rows in zip(looks, behind, strict=True):
        places = _places(look.holds(ordered), width)
        best = _packed(ordered, places), _packed(exact, places, torch.nan)
        _choose_again(best, rows, queries, gallery, look, margin)
        found.append((best[0], best[1].float()))
    return found


def _choose_again(
    best: tuple[Tensor, Tensor], rows: Tensor, queries: Tensor, gallery: Tensor, look: _Look, margin: Tensor
) -> None:
    """Write over the best of some queries with what all candidates of the view, scored again, give."""
    positions, exact = best
    width = positions.shape[1]
    for some in torch.split(rows, max(1, BLOCK_SCORES // len(gallery))):
        again = queries[some] @ gallery.T
        for row, scored in zip(some.tolist(), again, strict=True):
            if look.inside is not None:
                scored[~look.inside] = -torch.inf
            if look.excluded[row] >= 0:
                scored[look.excluded[row]] = -torch.inf
            floor = scored.topk(width).values[-1] - 2 * margin[row]
            every = ((scored >= floor) & ~torch.isneginf(scored)).nonzero().T
            ordered, scores = _order_exactly(queries[row : row + 1], gallery, every)
            count = min(width, ordered.shape[1])
            positions[row], exact[row] = -1, torch.nan
            positions[row, :count], exact[row, :count] = ordered[0, :count], scores[0, :count]


def _places(chosen: Tensor, count: int) -> Tensor:
    """The columns of the first ``count`` chosen of each row of flags (b, c), in order: int64 (b, count), or -1."""
    place = chosen.cumsum(dim=1) - 1
    rows, columns = (chosen & (place < count)).nonzero(as_tuple=True)
    places = torch.full((len(chosen), count), -1, device=chosen.device)
    places[rows, place[rows, columns]] = columns
    return places


def _packed(values: Tensor, places: Tensor, none: float = -1) -> Tensor:
    """Each row's values (b, c) at some places (b, n); ``none`` where a place is -1."""
    return values.gather(1, places.clamp(min=0)).masked_fill(places < 0, none)


def _order_exactly(queries: Tensor, gallery: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Order the candidates (b, c) of each query, -1 for none: the same shape in order, and float64 scores."""
    # Ascending positions first: a stable sort by score then leaves equal scores in the gallery's order.
    by_position = candidates.sort(dim=1).values
    present = by_position >= 0
    rows = torch.arange(len(queries), device=queries.device)[:, None].expand_as(by_position)
    scores = torch.full(by_position.shape, -torch.inf, dtype=torch.float64, device=queries.device)
    scores[present] = exact_scores(queries, gallery, rows[present], by_position[present])
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    ordered = by_position.gather(1, order)
    return ordered, torch.where(ordered >= 0, scores, torch.nan)


def _larger(device: torch.device) -> int:
    """How many times a block on this device is as large as on a CPU."""
    return 1 if device.type == "cpu" else GPU_BLOCKS


def _unit_roundoff() -> float:
    """Relative rounding error of one operation in a matrix product under torch's precision setting."""
    return {"highest": 2.0**-24, "high": 2.0**-11}.get(torch.get_float32_matmul_precision(), 2.0**-8)


def _checked_features(queries: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return both as float32 without a gradient, and the largest possible error of each query's scores, float64 (Q,).

    Raises:
        ValueError: they cannot be compared, or one is not finite.
    """
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"queries {tuple(queries.shape)} and gallery {tuple(gallery.shape)} must be two matrices with "
            "the same number of columns: features of one backbone"
        )
    queries, gallery = queries.detach().float(), gallery.detach().float()
    lengths = []
    for name, features in (("query", queries), ("gallery", gallery)):
        # The norms show every NaN and infinity without a second matrix of flags.
        lengths.append(torch.linalg.vector_norm(features, dim=1))
        broken = (~torch.isfinite(lengths[-1])).nonzero().flatten()
        if broken.numel():
            raise ValueError(
                f"row {int(broken[0])} of the {name} features is not finite; encode or train it again"
            )
    # |float32 product - true product| <= D u |q| |g|, whatever the order of the additions (Higham, Accuracy
    # and Stability of Numerical Algorithms, 3.1). A few more u cover rounding the bound itself to float32,
    # the constant covers products too small for float32.
    roundoff = (queries.shape[1] + 8) * 1.01 * _unit_roundoff()
    longest = lengths[1].amax().double() if len(gallery) else 0.0
    margin: Tensor = lengths[0].double() * longest * roundoff + 1e-30
    return queries, gallery, margin


def _checked_look(view: View, wanted: Tensor, count: int, size: int, device: torch.device) -> _Look:
    """Return a view as tensors on the device, or say what is wrong with it."""
    none = np.full(count, -1, dtype=np.int64)
    excluded = _checked_positions("excluded", none if view.excluded is None else view.excluded, count, size)
    if bool(((wanted == excluded) & (wanted >= 0)).any()):
        raise ValueError(
            "a target is excluded from its own ranking: drop triplets that name one picture twice"
        )
    sets = None if view.members is None else _checked_sets(view.members, wanted, size)
    if sets is not None:
        sets = torch.where(sets == excluded[:, None], -1, sets).to(device)
    inside, possible = None, torch.full((count,), size)
    if view.inside is not None:
        inside = torch.as_tensor(np.asarray(view.inside, dtype=np.bool_))
        if inside.shape != (size,):
            raise ValueError(
                f"inside must say of {size} pictures whether they are ranked, got {tuple(inside.shape)}"
            )
        outside = ((wanted >= 0) & ~inside[wanted.clamp(min=0)]).nonzero().flatten()
        if outside.numel():
            raise ValueError(
                f"the target of query {int(outside[0])} is outside the part of the gallery ranked"
            )
        possible[:] = int(inside.sum())
    left = excluded >= 0 if inside is None else (excluded >= 0) & inside[excluded.clamp(min=0)]
    possible -= left.long()
    return _Look(
        excluded.to(device), None if inside is None else inside.to(device), sets, possible.to(device)
    )


def _checked_sets(members: Positions, wanted: Tensor, size: int) -> Tensor:
    """Return the sets' positions as int64 (Q, M), or say which target is not in its set."""
    held = np.asarray(members, dtype=np.int64)
    if held.ndim != 2 or len(held) != len(wanted):
        raise ValueError(f"members must be ({len(wanted)} queries, set size), got shape {held.shape}")
    found = _checked_positions("members", held.reshape(-1), held.size, size).reshape(held.shape)
    lost = ((found != wanted[:, None]).all(dim=1) & (wanted >= 0)).nonzero().flatten()
    if lost.numel():
        raise ValueError(f"the target of query {int(lost[0])} is not among the members of its image set")
    return found


def _checked_positions(name: str, positions: Positions, count: int, size: int) -> Tensor:
    """Return the positions as int64 (count,), or say which is outside the gallery."""
    found = torch.as_tensor(np.asarray(positions, dtype=np.int64))
    if found.shape != (count,):
        raise ValueError(
            f"{name} must hold one position for each of {count} entries, got shape {tuple(found.shape)}"
        )
    if count and not (int(found.min()) >= -1 and int(found.max()) < size):
        raise ValueError(
            f"{name} holds positions from {int(found.min())} to {int(found.max())}; "
            f"the gallery's are -1 to {size - 1}"
        )
    return found
