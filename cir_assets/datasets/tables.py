"""The common form of every data set: the tables it fills, and what reading annotations gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

# The tables that readers of data sets fill.
from cir_assets.store.contracts import DATA_ISSUES as DATA_ISSUES
from cir_assets.store.contracts import GALLERIES as GALLERIES
from cir_assets.store.contracts import IMAGES as IMAGES
from cir_assets.store.contracts import PICTURES as PICTURES
from cir_assets.store.contracts import SPLITS as SPLITS
from cir_assets.store.contracts import TRIPLETS as TRIPLETS
from cir_assets.store.contracts import checked
from cir_assets.store.contracts import empty as empty
from cir_assets.store.contracts import frame as frame
from cir_assets.store.contracts import issue as issue

ABOUT_FILES = ("missing_picture", "unreadable_picture", "unread_folder", "unread_format")
"""Kinds of issue that say what a folder of pictures holds, whatever a table says."""

NO_CATEGORY = "all"


class BrokenAnnotations(ValueError):
    """Annotations that cannot be read; the message names file and place, what was expected, and the mend."""


@dataclass(frozen=True)
class Annotations:
    """What a data set's files say, before any picture is opened.

    Attributes:
        pictures: ``PICTURES``, every picture named, each id once; its file may be missing.
        galleries: ``GALLERIES``; a picture may stand in several.
        triplets: ``TRIPLETS``; every picture they name is in ``pictures``.
        issues: ``DATA_ISSUES`` found in the annotations alone (pictures come later, from their scan).
        picture_root: the folder that ``pictures["path"]`` is relative to.

    Raises:
        ValueError: when a table does not hold what its contract and these rules say.
    """

    pictures: pl.DataFrame
    galleries: pl.DataFrame
    triplets: pl.DataFrame
    issues: pl.DataFrame
    picture_root: Path

    def __post_init__(self) -> None:
        checked(self.pictures, PICTURES)
        checked(self.galleries, GALLERIES)
        checked(self.triplets, TRIPLETS)
        checked(self.issues, DATA_ISSUES)
        for name, table, key in (
            ("pictures", self.pictures, ["image"]),
            ("galleries", self.galleries, ["split", "category", "image"]),
            ("triplets", self.triplets, ["split", "triplet_id"]),
        ):
            twice = table.filter(pl.struct(key).is_duplicated())
            if not twice.is_empty():
                raise ValueError(
                    f"{name}: {', '.join(key)} must name one row, {twice.select(key).row(0)} names several"
                )
        picture_ids = self.pictures["image"].implode()
        for column, named in (
            ("galleries.image", self.galleries["image"]),
            ("triplets.reference", self.triplets["reference"]),
            ("triplets.target", self.triplets["target"].drop_nulls()),
            ("triplets.further_targets", self.triplets["further_targets"].explode(empty_as_null=False)),
            ("triplets.set_members", self.triplets["set_members"].drop_nulls().explode(empty_as_null=False)),
        ):
            unknown = named.filter(~named.is_in(picture_ids))
            if len(unknown):
                raise ValueError(f"{column}: {unknown[0]!r} is not among the pictures")


def named_pictures(galleries: pl.DataFrame, triplets: pl.DataFrame) -> list[str]:
    """Every picture the two tables name, each once, in the order in which they first do."""
    columns = [
        galleries["image"],
        triplets["reference"],
        triplets["target"].drop_nulls(),
        triplets["further_targets"].explode(empty_as_null=False),
        triplets["set_members"].drop_nulls().explode(empty_as_null=False),
    ]
    return pl.concat(columns).unique(maintain_order=True).to_list()


def pictures_by_split(galleries: pl.DataFrame, images: pl.DataFrame) -> dict[str, tuple[int, int]]:
    """Split -> how many pictures of its galleries are among ``images`` (a column ``image``), and of how many."""
    counted = (
        galleries.unique(["split", "image"])
        .group_by("split")
        .agg(there=pl.col("image").is_in(images["image"].implode()).sum(), named=pl.len())
    )
    found = {split: (there, named) for split, there, named in counted.iter_rows()}
    return {split: found[split] for split in SPLITS if split in found}


def overlap_issues(galleries: pl.DataFrame) -> Iterator[dict[str, str]]:
    """Yield an issue for each picture that stands in the galleries of more than one split.

    Kinds: ``cross_split_leakage`` where train is one of them, else ``val_test_overlap``; the subject is the
    picture, the detail names the places.
    """
    places = (
        galleries.group_by("image", maintain_order=True)
        .agg(pl.col("split"), place=pl.format("{} of {}", "split", "category"))
        .filter(pl.col("split").list.n_unique() > 1)
    )
    for image, splits, where in places.iter_rows():
        kind = "cross_split_leakage" if "train" in splits else "val_test_overlap"
        yield issue(kind, image, f"in {', in '.join(where)}")
