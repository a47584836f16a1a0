"""Rows of the common form as readers of annotation files make them, and what falls for want of a picture."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cir_assets.datasets.tables import NO_CATEGORY, BrokenAnnotations, issue


def gallery_rows(
    split: str, images: Iterable[str], category: str = NO_CATEGORY
) -> Iterator[dict[str, str | int]]:
    """Rows of ``GALLERIES``: pictures of one split and category in their order."""
    for position, image in enumerate(images):
        yield {"split": split, "category": category, "position": position, "image": image}


def triplet_row(
    triplet_id: str,
    split: str,
    reference: str,
    target: str | None,
    captions: Sequence[str],
    *,
    category: str = NO_CATEGORY,
    further_targets: Sequence[str] = (),
    set_members: Sequence[str] | None = None,
) -> dict[str, Any]:
    """One row of ``TRIPLETS``; a query with ``set_members`` has a set of its own, named as it is."""
    return {
        "triplet_id": triplet_id,
        "split": split,
        "category": category,
        "reference": reference,
        "target": target,
        "captions": list(captions),
        "further_targets": list(further_targets),
        "set_id": None if set_members is None else triplet_id,
        "set_members": None if set_members is None else list(set_members),
    }


def with_known_pictures(
    triplets: Sequence[dict[str, Any]], known: Container[str], file: Path, known_by: str
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Those whose reference and target are known, and an issue ``unknown_picture`` for each that is dropped.

    Args:
        triplets: rows of ``TRIPLETS``.
        known: the pictures there may be.
        file: what the triplets were read from.
        known_by: the file that says which pictures there are, for messages.

    Raises:
        BrokenAnnotations: when none is left of several, as the files are then of two data sets.
    """
    kept: list[dict[str, Any]] = []
    issues: list[dict[str, str]] = []
    for triplet in triplets:
        named = (triplet["reference"], triplet["target"])
        unknown = sorted({image for image in named if image is not None and image not in known})
        if not unknown:
            kept.append(triplet)
            continue
        subject = f"{triplet['split']}/{triplet['triplet_id']}"
        issues.append(
            issue("unknown_picture", subject, f"{', '.join(unknown)} not in {known_by}; triplet dropped")
        )
    if issues and not kept:
        raise BrokenAnnotations(
            f"{file}: none of its {len(issues):,} triplets has its pictures in {known_by} (the first lacks "
            f"{issues[0]['detail'].partition(' not in ')[0]}); the two files do not belong together, fetch both again"
        )
    return kept, issues
