"""Which pictures each split and category is searched in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import polars as pl

from cir_assets.datasets.tables import GALLERIES, NO_CATEGORY, SPLITS, issue

MOST_PLACES = 50
"""Galleries that one picture which no row names may join. With more, each goes to one: categories times pictures would
be more than any machine holds, and such categories are article numbers."""


def galleries_of(rows: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """Put every picture into galleries.

    A split and category is searched in all pictures its rows name. A picture no row names goes where an exact copy of
    it is; else it is a distractor of val or test, drawn by its content, in every category there. One that would so
    join more than ``MOST_PLACES`` joins one of them.

    Args:
        rows: ``PLACED``, every one with a split.
        keys: columns image and key, a row a picture; equal keys are exact copies, and a key that begins with ``size-``
            says nothing of the content.

    Returns:
        ``GALLERIES``, ordered by split, category and image.
    """
    place = ["split", "category"]
    named = (
        rows.select(*place, image=pl.concat_list("reference", "target", pl.col("set_members").fill_null([])))
        .explode("image")
        .drop_nulls("image")
        .unique()
    )
    unnamed = keys.join(named, on="image", how="anti")
    of_copies = named.join(keys, on="image").select(*place, "key").unique()
    copies = unnamed.join(of_copies, on="key", how="semi")
    distractors = unnamed.join(of_copies, on="key", how="anti")
    splits = [split for split in ("val", "test") if split in set(named["split"])] or ["test"]
    # The key of a file with no equal in size says nothing of its content: its name decides then too.
    told_apart = pl.when(pl.col("key").str.starts_with("size-")).then("image").otherwise("key")
    drawn = [_drawn(text) for text in distractors.select(told_apart).to_series()]
    distractors = distractors.with_columns(
        key=pl.Series([splits[byte * len(splits) // 256] for byte in drawn], dtype=pl.String)
    )
    of_splits = named.select(*place).unique()
    if of_splits.filter(pl.col("split").is_in(splits)).is_empty():
        of_splits = pl.DataFrame([(splits[0], NO_CATEGORY)], schema=of_splits.schema, orient="row")
    joined = pl.concat(
        [named, _joined(copies, of_copies), _joined(distractors, of_splits.with_columns(key="split"))]
    )
    return (
        joined.select(*place, "image")
        .unique()
        .sort(
            pl.col("split").replace_strict({split: n for n, split in enumerate(SPLITS)}), "category", "image"
        )
        .with_columns(position=pl.int_range(pl.len(), dtype=pl.Int32).over(place))
        .select(GALLERIES.names)
    )


def category_issues(rows: pl.DataFrame) -> Iterator[dict[str, str]]:
    """Yield what is odd about the categories of val and test, one row of ``DATA_ISSUES`` a split.

    Kinds: ``lone_queries`` where categories have a single query, ``many_categories`` where there are more than
    ``MOST_PLACES``.
    """
    counts = (
        rows.filter((pl.col("captions").list.len() > 0) & (pl.col("split") != "train"))
        .group_by("split", "category")
        .agg(queries=pl.len())
        .sort("split", "category")
    )
    for (split,), categories in counts.group_by("split", maintain_order=True):
        lone = categories.filter(pl.col("queries") == 1)
        number = "is it an article number? Without the column all pictures are searched"
        if categories.height > 1 and lone.height:
            yield issue(
                "lone_queries",
                str(split),
                f"{lone.height:,} of {categories.height:,} categories have a single query "
                f"(first: {lone['category'][0]}); {number}",
            )
        if categories.height > MOST_PLACES:
            yield issue(
                "many_categories",
                str(split),
                f"{categories.height:,} categories for {categories['queries'].sum():,} queries: pictures no row names "
                f"are shared out among them, not put into each; {number}",
            )


def _joined(pictures: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Each picture (image, key) in every place of its key, or in one of too many: split, category, image."""
    numbered = places.sort("split", "category").with_columns(number=pl.int_range(pl.len()).over("key"))
    found = pictures.join(numbered.group_by("key").agg(places=pl.len().cast(pl.Int64)), on="key")
    draws = pl.Series([_drawn(image, 4) for image in found["image"]], dtype=pl.Int64)
    found = found.with_columns(number=draws % pl.col("places"))
    few, many = found.filter(pl.col("places") <= MOST_PLACES), found.filter(pl.col("places") > MOST_PLACES)
    return pl.concat(
        joined.select("split", "category", "image")
        for joined in (few.join(numbered, on="key"), many.join(numbered, on=["key", "number"]))
    )


def _drawn(text: str, size: int = 1) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size])
