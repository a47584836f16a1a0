"""The common form of every data set: its tables' columns, and what reading annotations gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

PICTURES = pl.Schema({"image": pl.String, "path": pl.String})
"""Pictures that annotations name, before any is opened; ``path`` is posix, relative to the picture root."""

IMAGES = pl.Schema(
    {
        "image": pl.String,
        "path": pl.String,
        "image_key": pl.String,
        "format": pl.String,
        "mode": pl.String,
        "width": pl.Int32,
        "height": pl.Int32,
        "bytes": pl.Int64,
    }
)
"""Pictures whose header reads; ``image_key`` is the SHA-256 of the file's bytes in hexadecimal."""

GALLERIES = pl.Schema({"split": pl.String, "category": pl.String, "position": pl.Int32, "image": pl.String})
"""Which pictures each split and category is searched in; ``position`` is the order of the file, from 0."""

TRIPLETS = pl.Schema(
    {
        "triplet_id": pl.String,
        "split": pl.String,
        "category": pl.String,
        "reference": pl.String,
        "target": pl.String,
        "captions": pl.List(pl.String),
        "further_targets": pl.List(pl.String),
        "set_id": pl.String,
        "set_members": pl.List(pl.String),
    }
)
"""Queries with their answers; ``target`` is null where a data set keeps it secret."""

DATA_ISSUES = pl.Schema({"kind": pl.String, "subject": pl.String, "detail": pl.String})
"""What is wrong with the data and what was done about it."""

SPLITS = ("train", "val", "test")
NO_CATEGORY = "all"
LONG_CAPTION = 1_000
"""Characters above which a caption is reported: it is cut at the text encoder's context length."""


class BrokenAnnotations(ValueError):
    """Annotations that cannot be read; the message names the file and place, what was expected, and the mend."""


@dataclass(frozen=True)
class Annotations:
    """What a data set's files say, before any picture is opened."""

    pictures: pl.DataFrame
    galleries: pl.DataFrame
    triplets: pl.DataFrame
    issues: pl.DataFrame
    picture_root: Path


def frame(schema: pl.Schema, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a frame of exactly this schema; absent keys are null."""
    return pl.DataFrame(list(rows), schema=schema)


def issue(kind: str, subject: str, detail: str) -> dict[str, str]:
    """One row of ``DATA_ISSUES``."""
    return {"kind": kind, "subject": subject, "detail": detail}


def caption_issues(triplets: pl.DataFrame) -> list[dict[str, str]]:
    """Empty captions and very long ones, which are kept and reported."""
    issues: list[dict[str, str]] = []
    for triplet, captions in triplets.select("triplet_id", "captions").iter_rows():
        for caption in captions:
            if not caption.strip():
                issues.append(issue("empty_caption", triplet, "a caption is empty; the triplet is kept"))
            elif len(caption) > LONG_CAPTION:
                issues.append(
                    issue(
                        "long_caption",
                        triplet,
                        f"a caption has {len(caption):,} characters; it is cut at the text encoder's context",
                    )
                )
    return issues
