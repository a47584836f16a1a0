"""What the test servers of CIRR and CIRCO take: rankings of splits whose targets are not public."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cir_assets.retrieval.protocols import CIRR, QueryGroup
from cir_assets.retrieval.ranking import Positions, subset_order, top_k

CIRR_VERSION = "rc2"
CIRR_DEPTH = 50
CIRR_SUBSET_DEPTH = 3
CIRCO_DEPTH = 50
LARGEST_UPLOAD = 5_000_000
"""Bytes CIRR's server takes at most."""


@dataclass(frozen=True)
class CIRRSubmission:
    """The two documents CIRR's server takes for test1.

    Attributes:
        recall: {"version": "rc2", "metric": "recall", "<pairid>": [50 names, best first], ...}.
        recall_subset: the same with metric "recall_subset" and the 3 best members of the image set.
    """

    recall: dict[str, Any]
    recall_subset: dict[str, Any]


def cirr_submission(
    groups: Sequence[QueryGroup],
    queries: Tensor,
    features: Tensor,
    feature_images: Sequence[str],
) -> CIRRSubmission:
    """Rank CIRR's test queries for its server; the reference is in neither list.

    Args:
        groups: of protocol "cirr", made with ``with_targets=False``; query ids are the pair ids.
        queries: float32 (Q, D), unit length, in the order of the groups.
        features: float32 (N, D), unit length.
        feature_images: N image names, without folder or ending.

    Raises:
        ValueError: something was left out (the server refuses incomplete files), a gallery or set is too
            small, an id is not a number, or a name has a folder or an ending.
    """
    recall: dict[str, Any] = {"version": CIRR_VERSION, "metric": "recall"}
    recall_subset: dict[str, Any] = {"version": CIRR_VERSION, "metric": "recall_subset"}
    for group, part, gallery in _complete(groups, queries, features):
        names = [_cirr_name(feature_images[row]) for row in group.gallery]
        if group.members is None:
            raise ValueError(
                f"CIRR's submission needs image sets: make the groups with protocol {CIRR.name!r}"
            )
        best, _ = top_k(part, gallery, CIRR_DEPTH, group.excluded)
        within, _ = subset_order(part, gallery, group.members, group.excluded)
        recall |= _lists(group.query_ids, best, CIRR_DEPTH, names)
        recall_subset |= _lists(group.query_ids, within, CIRR_SUBSET_DEPTH, names)
    for document in (recall, recall_subset):
        size = len(document_bytes(document))
        if size >= LARGEST_UPLOAD:
            raise ValueError(
                f"the {document['metric']} document has {size:,} bytes; "
                f"the server takes less than {LARGEST_UPLOAD:,}"
            )
    return CIRRSubmission(recall, recall_subset)


def circo_submission(
    groups: Sequence[QueryGroup],
    queries: Tensor,
    features: Tensor,
    feature_images: Sequence[str],
) -> dict[str, list[int]]:
    """Rank CIRCO's queries for its server: {"<query id>": [50 COCO ids, best first]}.

    Args:
        groups: of protocol "circo", made with ``with_targets=False``; query ids are CIRCO's.
        queries: float32 (Q, D), unit length, in the order of the groups.
        features: float32 (N, D), unit length.
        feature_images: N COCO image ids, as text.

    Raises:
        ValueError: something was left out, the gallery is too small, or an id is not a number.
    """
    document: dict[str, list[int]] = {}
    for group, part, gallery in _complete(groups, queries, features):
        ids = [_number("image", feature_images[row]) for row in group.gallery]
        best, _ = top_k(part, gallery, CIRCO_DEPTH, group.excluded)
        document |= _lists(group.query_ids, best, CIRCO_DEPTH, ids)
    return document


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """Write a submission as the reference implementation does: one line of JSON, keys sorted as text."""
    return json.dumps(document, sort_keys=True).encode("ascii")


def _complete(
    groups: Sequence[QueryGroup], queries: Tensor, features: Tensor
) -> list[tuple[QueryGroup, Tensor, Tensor]]:
    """Pair each group with its queries and gallery, or refuse what a server would."""
    missing: Counter[str] = Counter()
    for group in groups:
        missing.update(group.left_out)
    if missing:
        listed = ", ".join(f"{reason} {count}" for reason, count in missing.items())
        raise ValueError(
            f"a submission must be complete, but was left out: {listed}; supply the missing pictures"
        )
    sizes = [len(group) for group in groups]
    if sum(sizes) != len(queries):
        raise ValueError(f"the groups hold {sum(sizes)} queries, got {len(queries)} query features")
    return [
        (group, part, features[torch.from_numpy(group.gallery).to(features.device)])
        for group, part in zip(groups, torch.split(queries, sizes), strict=True)
    ]


def _lists(
    query_ids: Sequence[str], positions: Positions, depth: int, names: Sequence[Any]
) -> dict[str, list[Any]]:
    """Name the first ``depth`` positions of each query."""
    first = positions[:, :depth]
    short = np.flatnonzero((first >= 0).sum(axis=1) < depth)
    if short.size:
        query = int(short[0])
        raise ValueError(
            f"query {query_ids[query]} has {int((first[query] >= 0).sum())} candidates; "
            f"the server wants {depth}"
        )
    return {
        str(_number("query", query_id)): [names[position] for position in row]
        for query_id, row in zip(query_ids, first.tolist(), strict=True)
    }


def _cirr_name(image: str) -> str:
    """Return a CIRR image name, or refuse one with a folder or an ending."""
    if "/" in image or "\\" in image or "." in image:
        raise ValueError(
            f"image {image!r} must be a bare name such as test1-147-1-img1, without folder or ending"
        )
    return image


def _number(kind: str, text: str) -> int:
    """Read an id of decimal digits; leading zeros, as in COCO's file names, fall away."""
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{kind} id {text!r} must be a decimal number for this server")
    return int(text)
