"""What is missing of a data set, and what falls with it."""

from __future__ import annotations

import polars as pl

from cir_assets.datasets.tables import Annotations
from cir_assets.store.contracts import MISSING_PICTURES


def missing_pictures(annotations: Annotations, images: pl.DataFrame) -> pl.DataFrame:
    """Tell what exactly is missing, and what falls with it: one row a missing picture, split and category.

    Args:
        annotations: what was named.
        images: the pictures that are there, with a column ``image``.

    Returns:
        As ``MISSING_PICTURES``: image, split, category, in_gallery (it was to be ranked), as_reference and
        as_target (triplets that use it so), triplets_lost (those together, each once). Sorted by split,
        category and image. A triplet with two missing pictures is counted at both.
    """
    there = images["image"].implode()
    gone = ~pl.col("image").is_in(there)
    place = ["image", "split", "category"]
    ranked = annotations.galleries.filter(gone).select(*place, in_gallery=pl.lit(True))
    uses = pl.concat(
        annotations.triplets.select("triplet_id", "split", "category", image=role, role=pl.lit(role))
        for role in ("reference", "target")
    ).filter(pl.col("image").is_not_null() & gone)
    used = uses.group_by(place).agg(
        as_reference=(pl.col("role") == "reference").sum().cast(pl.Int64),
        as_target=(pl.col("role") == "target").sum().cast(pl.Int64),
        triplets_lost=pl.col("triplet_id").n_unique().cast(pl.Int64),
    )
    table = (
        ranked.join(used, on=place, how="full", coalesce=True)
        .with_columns(
            pl.col("in_gallery").fill_null(False),
            pl.col("as_reference", "as_target", "triplets_lost").fill_null(0),
        )
        .sort("split", "category", "image")
        .select(MISSING_PICTURES.names)
    )
    return table.cast(MISSING_PICTURES.schema)
