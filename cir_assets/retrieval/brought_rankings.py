"""Lists of ids another system made, as rankings of our queries: taken whole, or refused with the place and the mend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cir_assets.retrieval.evaluation import RETRIEVED_DEPTH
from cir_assets.retrieval.protocols import Protocol, QueryGroup
from cir_assets.retrieval.ranking import Positions, Ranking
from cir_assets.retrieval.ranking_files import BrokenRanking, RankedLists


@dataclass(frozen=True)
class Known:
    """What a data set knows beside its galleries.

    Attributes:
        images: names of the rows that groups speak of.
        missing: pictures the annotations name whose files are missing or do not open: they take no part.
        lost: queries that fell with them.
    """

    images: Sequence[str]
    missing: Collection[str] = ()
    lost: Collection[str] = ()


def brought_rankings(
    protocol: Protocol,
    groups: Sequence[QueryGroup],
    ranked: RankedLists,
    known: Known,
    subsets: RankedLists | None = None,
) -> tuple[list[QueryGroup], list[Ranking]]:
    """Rank every query's target by the lists of a file.

    What does not take part in our own rankings does not in these: a picture whose file is missing and, where the
    protocol removes it, the reference are taken out of a list, and those behind move up. A target that is not in the
    list ranks one past its end.

    Args:
        protocol: the one the groups were made for.
        groups: the queries.
        ranked: of each query at least the largest k of the protocol, or the whole gallery.
        known: what is missing.
        subsets: lists that hold each query's image set; None: those of ``ranked`` do.

    Returns:
        The groups that have queries, with what was taken out among ``left_out``, and a ranking of each.

    Raises:
        BrokenRanking: for a query or picture nobody knows, a query that lacks, an id twice in a list, a list that is
            too short or lacks members of the image set.
    """
    asked = {query for group in groups for query in group.query_ids}
    _require_queries(ranked, asked, known.lost)
    if subsets is not None:
        _require_queries(subsets, asked, known.lost)
    names = set(known.images)
    own_groups, rankings = [], []
    for group in (group for group in groups if len(group)):
        position_of = {known.images[row]: position for position, row in enumerate(group.gallery)}
        out: Counter[str] = Counter()

        lists = _lists_of(group, ranked, position_of, names, known.missing, out)
        sets = lists if subsets is None else _lists_of(group, subsets, position_of, names, known.missing, out)
        _require_length(protocol, group, ranked, lists)
        own_groups.append(replace(group, left_out={**group.left_out, **out}))
        best = _best(lists, max(RETRIEVED_DEPTH, protocol.depth))
        rankings.append(
            Ranking(
                target_rank=_places(lists, group.target),
                target_score=np.full(len(group), np.nan, dtype=np.float32),
                subset_rank=_subset_ranks(group, sets, subsets or ranked) if protocol.subset else None,
                positions=best,
                scores=np.full(best.shape, np.nan, dtype=np.float32),
            )
        )
    return own_groups, rankings


def _require_queries(ranked: RankedLists, asked: Collection[str], lost: Collection[str]) -> None:
    for query in ranked.lists:
        if query not in asked and query not in lost:
            raise ranked.broken(
                query,
                "the split has no such query; take it out, or name the split it is of (ids are "
                f"triplets.triplet_id, such as {min(asked, default='none')})",
            )
    lacking = sorted(asked - ranked.lists.keys())
    if lacking:
        raise BrokenRanking(
            f"{ranked.file} lacks {len(lacking):,} of {len(asked):,} queries, the first is query {lacking[0]}: add a "
            "list for each, as a figure over some of them compares with nothing"
        )


def _lists_of(
    group: QueryGroup,
    ranked: RankedLists,
    position_of: Mapping[str, int],
    names: Collection[str],
    missing: Collection[str],
    out: Counter[str],
) -> list[list[int]]:
    """Each query's list as positions in the gallery, without what takes no part."""
    lists = []
    for query, excluded in zip(group.query_ids, group.excluded.tolist(), strict=True):
        found = _positions(ranked, query, position_of, names, missing, out)
        lists.append([position for position in found if position != excluded])
    return lists


def _positions(
    ranked: RankedLists,
    query: str,
    position_of: Mapping[str, int],
    names: Collection[str],
    missing: Collection[str],
    out: Counter[str],
) -> list[int]:
    """A list as positions in the gallery, without pictures whose files are missing."""
    images, found = ranked.lists[query], []
    if len(set(images)) < len(images):
        twice = next(image for image, count in Counter(images).items() if count > 1)
        raise ranked.broken(query, f"picture {twice} stands twice in the list; each may stand once")
    for image in images:
        if image in position_of:
            found.append(position_of[image])
        elif image in missing:
            out["ranked_picture_missing"] += 1
        elif image in names:
            raise ranked.broken(
                query,
                f"picture {image} is not in the gallery searched (galleries, of the query's split and "
                "category); rank that gallery alone",
            )
        else:
            raise ranked.broken(
                query, f"the data set has no picture {image}; write ids as they stand in images.image"
            )
    return found


def _require_length(
    protocol: Protocol, group: QueryGroup, ranked: RankedLists, lists: Sequence[Sequence[int]]
) -> None:
    for query, found, excluded in zip(group.query_ids, lists, group.excluded, strict=True):
        wanted = min(protocol.depth, len(group.gallery) - (excluded >= 0))
        if len(found) < wanted:
            without = " without the reference, which the protocol takes out" if excluded >= 0 else ""
            raise ranked.broken(
                query,
                f"the list holds {len(found)} pictures{without}; protocol {protocol.name} counts up to "
                f"k = {protocol.depth}, so give at least {wanted}",
            )


def _places(lists: Sequence[Sequence[int]], wanted: Positions) -> Positions:
    """Where each list has what is wanted, from 0; its length where it has not: int64 (Q,)."""
    return np.array(
        [
            found.index(position) if position in found else len(found)
            for found, position in zip(lists, wanted.tolist(), strict=True)
        ],
        dtype=np.int64,
    )


def _best(lists: Sequence[Sequence[int]], depth: int) -> Positions:
    """The first of each list: int64 (Q, depth), -1 beyond its end."""
    best = np.full((len(lists), depth), -1, dtype=np.int64)
    for query, found in enumerate(lists):
        first = found[:depth]
        best[query, : len(first)] = first
    return best


def _subset_ranks(group: QueryGroup, lists: Sequence[Sequence[int]], ranked: RankedLists) -> Positions:
    """How many other members of the image set stand before the target: int64 (Q,)."""
    assert group.members is not None
    ranks = []
    for query, found, members, excluded, target in zip(
        group.query_ids, lists, group.members.tolist(), group.excluded, group.target.tolist(), strict=True
    ):
        own = {member for member in members if member >= 0 and member != excluded}
        among = [position for position in found if position in own]
        if len(among) < len(own):
            raise ranked.broken(
                query,
                f"the list holds {len(among)} of the {len(own)} other pictures of the query's image set, which "
                "the protocol ranks too; rank the whole gallery, or give those lists as subset_file",
            )
        ranks.append(among.index(target))
    return np.array(ranks, dtype=np.int64)
