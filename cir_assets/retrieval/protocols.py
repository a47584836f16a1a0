"""Evaluation protocols: which gallery a query is ranked in, what is removed from it, what is read, what is counted.

A protocol turns the tables of a data set into :class:`QueryGroup` objects: arrays of positions that
ranking needs and nothing else. Two protocols of one data set give figures that must never be mixed, so
every figure carries its protocol's name.

A new one is an entry of :data:`PROTOCOLS`. A name is for ever: what is evaluated otherwise gets another name, and a
name that was given to something else is told by ``revision`` and ``RENAMED``.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from cir_assets.datasets.captions import (
    CONCEPT_AND_CAPTION,
    REFERENCE_AND_CAPTION,
    RELATIVE_CAPTION,
    TextTemplate,
    Words,
)
from cir_assets.store.contracts import PROTOCOLS as PROTOCOL_COLUMNS
from cir_assets.store.contracts import frame

if TYPE_CHECKING:
    from cir_assets.retrieval.ranking import Positions

RECALL = "recall"
SUBSET_RECALL = "subset_recall"
AVERAGE_PRECISION = "mean_average_precision"
HEADLINE = "headline"
METRICS = (RECALL, SUBSET_RECALL, AVERAGE_PRECISION, HEADLINE)
"""What may be measured, by name."""

WHOLE_SPLIT = "every picture of the split"
REFERENCES_AND_TARGETS = "references and targets"
OWN_CANDIDATES = "the candidates of each query"
"""What a gallery is made of, as it stands in the database; of the last the whole split's are ranked beside it."""

WHOLE_RANKING = 0
"""The cut-off of an average precision over every picture there is."""

MetricKey = tuple[str, int]
"""A metric's name and its cut-off k."""


@dataclass(frozen=True)
class Protocol:
    """How a data set is evaluated.

    Attributes:
        name: as it stands in every row of results.
        description: one line for people.
        metrics: what is measured, in order.
        headline: the metrics whose plain mean sums a model up and picks the best epoch.
        reference_removed: whether the reference picture is taken out of each ranking.
        gallery: what a category's gallery is made of: ``WHOLE_SPLIT``, ``REFERENCES_AND_TARGETS`` or
            ``OWN_CANDIDATES``.
        text: how a query's words become the text a model reads.
        revision: above 1 where the name once meant something else; what was made then is not used again.
        any_target: whether a rank is that of whichever true target a model puts first, not of the one named first.
    """

    name: str
    description: str
    metrics: tuple[MetricKey, ...]
    headline: tuple[MetricKey, ...]
    reference_removed: bool
    gallery: str = WHOLE_SPLIT
    text: TextTemplate = RELATIVE_CAPTION
    revision: int = 1
    any_target: bool = False

    @property
    def identity(self) -> str:
        """What settings are compared by: the name, and its revision where it has one."""
        return self.name if self.revision == 1 else f"{self.name}/{self.revision}"

    @property
    def subset(self) -> bool:
        """Whether the target is also ranked within its image set."""
        return any(metric == SUBSET_RECALL for metric, _ in self.metrics)

    @property
    def several_targets(self) -> bool:
        """Whether a query may have more than one true target."""
        return self.any_target or self.averages_precision

    @property
    def averages_precision(self) -> bool:
        """Whether an average precision is among the metrics, for which the best candidates must be known."""
        return any(metric == AVERAGE_PRECISION for metric, _ in self.metrics)

    @property
    def counts_whole_rankings(self) -> bool:
        """Whether a metric is over every picture there is, however far down."""
        return any(k == WHOLE_RANKING for _, k in self.metrics)

    @property
    def depth(self) -> int:
        """The largest cut-off over the whole gallery: 0 where there is none, more than any gallery where all counts."""
        if self.counts_whole_rankings:
            return sys.maxsize
        return max((k for metric, k in self.metrics if metric != SUBSET_RECALL), default=0)


_FASHIONIQ: tuple[MetricKey, ...] = ((RECALL, 10), (RECALL, 50))
_CIRR_RECALLS: tuple[MetricKey, ...] = tuple((RECALL, k) for k in (1, 5, 10, 50))
_CIRR_SUBSET: tuple[MetricKey, ...] = tuple((SUBSET_RECALL, k) for k in (1, 2, 3))

FASHIONIQ = Protocol(
    "fashioniq",
    "a gallery a category: every picture of the split's list (the 'original split'), reference kept",
    metrics=_FASHIONIQ,
    headline=_FASHIONIQ,
    reference_removed=False,
)
CIRR = Protocol(
    "cirr",
    "every picture of the split, reference removed; and the other members of its image set",
    metrics=_CIRR_RECALLS + _CIRR_SUBSET,
    headline=((RECALL, 5), (SUBSET_RECALL, 1)),
    reference_removed=True,
)
CIRCO = Protocol(
    "circo",
    "every picture of the split, reference kept; several true targets, recall counts the first",
    metrics=(
        *((AVERAGE_PRECISION, k) for k in (5, 10, 25, 50)),
        *((RECALL, k) for k in (5, 10, 25, 50)),
    ),
    # CIRCO names no single figure; its own evaluation breaks down mAP@10, so that is ours.
    headline=((AVERAGE_PRECISION, 10),),
    reference_removed=False,
)

GENECIS = Protocol(
    "genecis",
    "a task a category: each query is ranked among its own fifteen candidates, which the reference is none of",
    metrics=_CIRR_SUBSET,
    headline=((SUBSET_RECALL, 1),),
    reference_removed=True,
    gallery=OWN_CANDIDATES,
)
_RECALLS_1_10_50: tuple[MetricKey, ...] = tuple((RECALL, k) for k in (1, 10, 50))
SHOES = Protocol(
    "shoes",
    "every picture of the split, reference left out",
    metrics=_RECALLS_1_10_50,
    headline=_RECALLS_1_10_50,
    reference_removed=True,
)
FASHION200K = Protocol(
    "fashion200k",
    "every picture of the split, reference left out; found is any picture with the target's description",
    metrics=_RECALLS_1_10_50,
    headline=_RECALLS_1_10_50,
    reference_removed=True,
    any_target=True,
)
LASCO = Protocol(
    "lasco",
    "every picture of the split's corpus, reference kept",
    metrics=_CIRR_RECALLS,
    headline=((RECALL, 10),),
    reference_removed=False,
)
ICIR = Protocol(
    "icir",
    "an instance a category, searched in its own pictures; average precision over all of them, mean over instances",
    metrics=((AVERAGE_PRECISION, WHOLE_RANKING),),
    headline=((AVERAGE_PRECISION, WHOLE_RANKING),),
    reference_removed=False,
)

_VAL_SPLIT = replace(
    FASHIONIQ,
    name="fashioniq_val_split",
    description="a gallery a category: references and targets alone (the 'VAL split'), reference left out",
    gallery=REFERENCES_AND_TARGETS,
    reference_removed=True,
    # It kept the reference until the protocol below had a name of its own.
    revision=2,
)
_VAL_SPLIT_WITH_REFERENCE = replace(
    FASHIONIQ,
    name="fashioniq_val_split_with_reference",
    description="a gallery a category: references and targets alone (the 'VAL split'), reference kept",
    gallery=REFERENCES_AND_TARGETS,
)

PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        FASHIONIQ,
        replace(
            FASHIONIQ,
            name="fashioniq_without_reference",
            description="a gallery a category: every picture of the split's list, reference left out",
            reference_removed=True,
        ),
        _VAL_SPLIT,
        _VAL_SPLIT_WITH_REFERENCE,
        replace(
            FASHIONIQ,
            name="fashioniq_with_reference_caption",
            description="as fashioniq, and the text begins with what a caption says of the reference",
            text=REFERENCE_AND_CAPTION,
        ),
        CIRR,
        CIRCO,
        replace(
            CIRCO,
            name="circo_with_concept",
            description="as circo, and the text begins with the concept that reference and targets share",
            text=CONCEPT_AND_CAPTION,
        ),
        GENECIS,
        SHOES,
        FASHION200K,
        LASCO,
        ICIR,
    )
}
"""Every protocol by name. Sources: FashionIQ and CIRR as the public CLIP4Cir code evaluates them
(github.com/ABaldrati/CLIP4Cir), without the reference in the VAL split as VAL, TG-CIR and DQU-CIR do, CIRCO as its own
evaluation.py does (github.com/miccunifi/CIRCO), with the concept as MegaPairs and others read it too, GeneCIS as its
eval_functions.py (github.com/facebookresearch/genecis), Shoes and Fashion200k as DQU-CIR's test.py, which has TIRG's
rule (github.com/google/tirg), i-CIR as its utils.py (github.com/billpsomas/icir), LaSCo in the corpus its files name:
of it no code of evaluation is published."""

RENAMED: Mapping[str, str] = {_VAL_SPLIT.name: _VAL_SPLIT_WITH_REFERENCE.name}
"""What a protocol was called before it said which text is read -> its name now."""

DEFAULT_PROTOCOL = FASHIONIQ.name
"""Of a data set that names none, and of a comparison that asks for none."""

if TYPE_CHECKING:
    ProtocolName = str
else:
    ProtocolName = Literal[tuple(PROTOCOLS)]
"""A protocol's name, as settings check it; a type checker cannot follow names that stand in a mapping."""


def protocol_table() -> pl.DataFrame:
    """What every protocol means, as ``store.contracts.PROTOCOLS``."""
    return frame(
        PROTOCOL_COLUMNS,
        (
            {
                "protocol": each.name,
                "meaning": each.description,
                "gallery": each.gallery,
                "reference": "left out" if each.reference_removed else "kept",
                "image_sets": each.subset,
                "several_targets": each.several_targets,
                "metrics": [metric_name(key) for key in each.metrics],
                "headline": [metric_name(key) for key in each.headline],
                "text_template": each.text.name,
                "text": each.text.description,
            }
            for each in PROTOCOLS.values()
        ),
    )


def named_as_today(evaluations: pl.DataFrame) -> pl.DataFrame:
    """Evaluations with the names their protocols have now; those made before they said which text was read had others.

    Args:
        evaluations: with a column protocol, and text_template unless all are as old.
    """
    old = pl.col("text_template").is_null() if "text_template" in evaluations.columns else pl.lit(True)
    return evaluations.with_columns(
        protocol=pl.when(old).then(pl.col("protocol").replace(RENAMED)).otherwise("protocol")
    )


def metric_name(key: MetricKey) -> str:
    """Write a metric as a dictionary's key: ``recall@10``, ``mean_average_precision``, ``headline``."""
    return key[0] if key[0] == HEADLINE or key[1] == WHOLE_RANKING else f"{key[0]}@{key[1]}"


@dataclass(frozen=True)
class QueryGroup:
    """The queries that share one gallery; N feature rows, G gallery pictures, Q queries.

    Attributes:
        category: the gallery's category, "all" where a data set has none.
        gallery: int64 (G,), rows of the feature matrix in the gallery's order, which also breaks ties.
        reference: int64 (Q,), rows of the feature matrix.
        target: int64 (Q,), positions in ``gallery``; -1 where a test split keeps its targets to itself.
        excluded: int64 (Q,), positions in ``gallery`` that the ranking leaves out, or -1.
        members: int64 (Q, M), positions in ``gallery`` of the image set, padded with -1; None without sets.
        captions: Q texts as models read them, by the protocol's template.
        query_ids: Q ids of the triplets.
        further_targets: int64 (Q, T), positions of further true targets, padded with -1; or None.
        any_target: whether whichever true target comes first is ranked, not ``target``.
        left_out: what could not take part, as reason -> how many. Queries: reference_without_feature,
            no_target, target_without_feature, target_outside_gallery, reference_is_target, no_image_set,
            target_outside_image_set. Pictures: gallery_picture_without_feature (not in the gallery),
            image_set_member_without_feature and further_target_without_feature (their query is kept).
    """

    category: str
    gallery: Positions
    reference: Positions
    target: Positions
    excluded: Positions
    members: Positions | None
    captions: list[str]
    query_ids: list[str]
    further_targets: Positions | None = None
    any_target: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many queries there are."""
        return len(self.query_ids)


def protocol_named(protocol: Protocol | str) -> Protocol:
    """Look a protocol up by name; a protocol is returned as it is.

    Raises:
        ValueError: there is none of that name.
    """
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise ValueError(f"no protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[protocol]


def missing_for(
    protocol: Protocol | str,
    split: str,
    galleries: pl.DataFrame,
    triplets: pl.DataFrame,
    *,
    with_targets: bool = True,
) -> str | None:
    """Say what a data set lacks for a protocol and how to mend it, or None if it can be evaluated by it.

    Args:
        protocol: a protocol or its name.
        split: "train", "val" or "test".
        galleries: columns split, category, position, image.
        triplets: columns as in :func:`query_groups`.
        with_targets: False asks for no targets, as a submission has none.
    """
    protocol = protocol_named(protocol)
    add_rows = f"add rows of split {split}, or leave the column split out"
    if galleries.filter(pl.col("split") == split).is_empty():
        return f"split {split!r} has no gallery; {add_rows}"
    rows = triplets.filter(pl.col("split") == split)
    if rows.is_empty():
        return f"split {split!r} has no triplets; {add_rows}"
    if with_targets and rows["target"].null_count() == len(rows):
        return f"split {split!r} has no public targets; name a target in its rows"
    leave_out = f"leave {protocol.name} out of protocols"
    if protocol.subset and rows["set_members"].null_count() == len(rows):
        return (
            f"split {split!r} has no image sets, which {protocol.name} ranks the target in; add a column set or "
            f"members, or {leave_out}"
        )
    if (
        with_targets
        and protocol.several_targets
        and not rows["further_targets"].list.len().fill_null(0).sum()
    ):
        return f"split {split!r} has one target a query; {protocol.name} is for several: {leave_out}"
    if (column := protocol.text.needs) and (
        column not in rows.columns or rows[column].null_count() == len(rows)
    ):
        return (
            f"split {split!r} has no {column}, which {protocol.name} reads (template {protocol.text.name}); add a "
            f"column {column}, or {leave_out}"
        )
    return None


def query_groups(
    protocol: Protocol | str,
    split: str,
    feature_images: Sequence[str],
    galleries: pl.DataFrame,
    triplets: pl.DataFrame,
    *,
    with_targets: bool = True,
) -> list[QueryGroup]:
    """Lay out the queries of one split for ranking, one group a category.

    Pictures without a feature cannot be ranked. Triplets that need one are left out and counted in
    ``QueryGroup.left_out``, as are gallery pictures.

    Args:
        protocol: a protocol or its name.
        split: "train", "val" or "test".
        feature_images: image id of each row of the feature matrix.
        galleries: split, category, position, image.
        triplets: triplet_id, split, category, reference, target (nullable), captions, further_targets,
            set_members (nullable), in the order of the annotation file.
        with_targets: False keeps triplets whose target is not public (target -1), as a submission needs.

    Returns:
        Groups in the order in which the categories stand in ``galleries``; categories without a triplet
        are left out. A group whose triplets all fell stays, empty, so that its counts are seen.

    Raises:
        ValueError: the protocol cannot be applied to the split, or no query is left.
    """
    protocol = protocol_named(protocol)
    if lacking := missing_for(protocol, split, galleries, triplets, with_targets=with_targets):
        raise ValueError(f"protocol {protocol.name!r} cannot be applied: {lacking}")
    row_of = {image: row for row, image in enumerate(feature_images)}
    galleries = galleries.filter(pl.col("split") == split).sort("position", maintain_order=True)
    triplets = triplets.filter(pl.col("split") == split)
    groups = []
    for category in galleries["category"].unique(maintain_order=True):
        queries = triplets.filter(pl.col("category") == category)
        if queries.is_empty():
            continue
        images = galleries.filter(pl.col("category") == category)["image"].to_list()
        groups.append(_query_group(protocol, category, images, queries, row_of, with_targets))
    if not any(len(group) for group in groups):
        reasons: Counter[str] = Counter()
        for group in groups:
            reasons.update(group.left_out)
        listed = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items())) or "no gallery"
        raise ValueError(
            f"no query of split {split!r} is left under protocol {protocol.name!r} ({listed}); "
            "see the data set's issues for missing pictures"
        )
    return groups


def _query_group(
    protocol: Protocol,
    category: str,
    images: Sequence[str],
    queries: pl.DataFrame,
    row_of: Mapping[str, int],
    with_targets: bool,
) -> QueryGroup:
    """Lay out one category: its gallery, then its triplets in order."""
    if protocol.gallery == REFERENCES_AND_TARGETS:
        used = set(queries["reference"]) | set(queries["target"].drop_nulls())
        images = [image for image in images if image in used]
    left_out: Counter[str] = Counter()
    present = [image for image in images if image in row_of]
    left_out["gallery_picture_without_feature"] = len(images) - len(present)
    position_of = {image: position for position, image in enumerate(present)}
    kept: list[dict[str, Any]] = []
    references: list[int] = []
    targets: list[int] = []
    excluded: list[int] = []
    members: list[list[int]] = []
    further: list[list[int]] = []
    for triplet in queries.iter_rows(named=True):
        reference, target, together = triplet["reference"], triplet["target"], triplet["set_members"]
        reason = _unrankable(protocol, reference, target, together, row_of, position_of, with_targets)
        if reason:
            left_out[reason] += 1
            continue
        kept.append(triplet)
        references.append(row_of[reference])
        targets.append(-1 if target is None else position_of[target])
        excluded.append(position_of.get(reference, -1) if protocol.reference_removed else -1)
        if protocol.subset:
            found = [position_of[image] for image in together if image in position_of]
            left_out["image_set_member_without_feature"] += len(together) - len(found)
            members.append(found)
        if protocol.several_targets:
            others = dict.fromkeys(image for image in triplet["further_targets"] or [] if image != target)
            found = [position_of[image] for image in others if image in position_of]
            left_out["further_target_without_feature"] += len(others) - len(found)
            further.append(found)
    return QueryGroup(
        category=category,
        gallery=np.array([row_of[image] for image in present], dtype=np.int64),
        reference=np.array(references, dtype=np.int64),
        target=np.array(targets, dtype=np.int64),
        excluded=np.array(excluded, dtype=np.int64),
        members=_padded(members) if protocol.subset else None,
        captions=[protocol.text.write(_words(triplet)) for triplet in kept],
        query_ids=[str(triplet["triplet_id"]) for triplet in kept],
        further_targets=_padded(further) if protocol.several_targets else None,
        any_target=protocol.any_target,
        left_out={reason: count for reason, count in sorted(left_out.items()) if count},
    )


def _words(triplet: Mapping[str, Any]) -> Words:
    """The words of a triplet; tables written before there were concepts have none."""
    return Words(triplet["captions"], triplet.get("shared_concept"), triplet.get("reference_caption"))


def _unrankable(
    protocol: Protocol,
    reference: str,
    target: str | None,
    image_set: Sequence[str] | None,
    row_of: Mapping[str, int],
    position_of: Mapping[str, int],
    with_targets: bool,
) -> str | None:
    """Say why a triplet cannot be ranked, or None."""
    if reference not in row_of:
        return "reference_without_feature"
    if protocol.subset and not image_set:
        return "no_image_set"
    if target is None:
        return "no_target" if with_targets else None
    if target not in row_of:
        return "target_without_feature"
    if target not in position_of:
        return "target_outside_gallery"
    if protocol.reference_removed and target == reference:
        return "reference_is_target"
    if protocol.subset and target not in (image_set or ()):
        return "target_outside_image_set"
    return None


def _padded(lists: Iterable[Sequence[int]]) -> Positions:
    """Stack lists of positions as int64 (Q, longest), padded with -1."""
    rows = list(lists)
    stacked = np.full((len(rows), max((len(row) for row in rows), default=0)), -1, dtype=np.int64)
    for index, row in enumerate(rows):
        stacked[index, : len(row)] = row
    return stacked
