"""Reading a catalogue whole: its pictures listed, its table read, triplets placed in splits and galleries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from cir_assets.datasets.captions import caption_issues
from cir_assets.datasets.catalogue.folder import pictures_and_issues
from cir_assets.datasets.catalogue.galleries import category_issues, galleries_of
from cir_assets.datasets.catalogue.names import PictureNames
from cir_assets.datasets.catalogue.rows import PLACED, usable_rows
from cir_assets.datasets.catalogue.splits import split_by_pictures
from cir_assets.datasets.catalogue.table import read_table
from cir_assets.datasets.tables import (
    DATA_ISSUES,
    PICTURES,
    TRIPLETS,
    Annotations,
    frame,
    issue,
    overlap_issues,
)
from cir_assets.pictures.scanning import content_keys

_NOTHING = hashlib.sha256().hexdigest()


def read_catalogue(
    pictures: Path,
    table: Path | None,
    *,
    val_share: float = 0.15,
    test_share: float = 0.15,
    seed: int = 0,
    memory: Path | None = None,
    known_by_features: Sequence[str] = (),
) -> Annotations:
    """Read a catalogue in the common form.

    A picture's id is its path below the folder (``shoes/red.png``). The table may also name it without its
    ending, in other capitals or another Unicode normal form, where that names one picture. What else lies in
    the folder is told, a row a file or an ending (``pictures_and_issues``).

    Columns, or synonyms of them: ``reference``, ``target``, ``caption``; optionally ``caption_2`` (a second
    person's words), ``split`` (train, val, test), ``category`` (a gallery of its own), ``set`` and ``members``
    (look-alikes, for subset recall; without ``members`` a set is what its rows name), ``shared_concept`` and
    ``reference_caption`` (what protocols with such a text template read before the caption). A row that names only a
    ``reference`` puts that picture into a gallery and makes no triplet; a row with a caption and no target is
    a query whose answer is secret. Triplets are called ``row-<n>``, n counting rows that are not blank from 1.

    What cannot be used is dropped and told, row by row (``usable_rows``). Told too: a picture that stands
    under several names (``same_picture``), and categories that look like article numbers.

    Splits: where the table has none, triplets that share a picture, or exact copies of one, form a group, and
    each group goes whole to one split: in an order drawn from ``seed``, val and test are filled up to their
    share of the triplets, train takes the rest. So no picture, and no copy of it, is in two splits. With a
    ``split`` column overlaps are reported (``cross_split_leakage``).

    Galleries: a split and category is searched in all pictures its rows name, sets included, by ascending
    id. A picture no row names goes where an exact copy of it is; else it is a distractor, shared out between
    val and test by its content, in every category there unless they are very many. Without triplets all
    pictures are the gallery of test: features and search cover them.

    Args:
        pictures: the folder of pictures.
        table: a .csv, .tsv, .jsonl, .parquet or .xlsx file; None: no triplets.
        val_share: of the triplets, where the table has no split.
        test_share: of the triplets, where the table has no split.
        seed: decides the splits.
        memory: a Parquet file that keeps what was found of the files' contents, so that only new and changed
            ones are read next time; None: nothing is kept.
        known_by_features: pictures of the catalogue whose files may lack, by their paths.

    Raises:
        BrokenAnnotations: the folder cannot be listed; the table cannot be read, lacks a column, names no
            picture that is there, or cannot be split; naming file and line.
    """
    names, of_folder = pictures_and_issues(pictures, table)
    names = sorted({*names, *known_by_features})
    rows, of_table = pl.DataFrame(schema=PLACED), pl.DataFrame(schema=DATA_ISSUES.schema)
    if table is not None:
        usable = usable_rows(read_table(table), PictureNames(names, pictures))
        rows, of_table = usable.rows, usable.issues
    found = content_keys(names, pictures, memory)
    # What cannot be read is told when pictures are opened; until then its name stands for its content.
    keys = pl.DataFrame(
        {"image": names, "key": [found.get(name, f"size-unread-{name}") for name in names]},
        schema={"image": pl.String, "key": pl.String},
    )
    if table is not None and rows["split"].null_count():
        rows = split_by_pictures(rows, keys, {"val": val_share, "test": test_share}, seed, table)
    galleries = galleries_of(rows, keys)
    triplets = rows.filter(pl.col("captions").list.len() > 0).select(
        pl.lit([], dtype=dtype).alias(column) if column == "further_targets" else pl.col(column).cast(dtype)
        for column, dtype in TRIPLETS.schema.items()
    )
    return Annotations(
        pictures=keys.select("image", path="image").cast(PICTURES.schema),
        galleries=galleries,
        triplets=triplets,
        issues=pl.concat(
            [
                frame(DATA_ISSUES, of_folder),
                of_table,
                frame(DATA_ISSUES, caption_issues(triplets)),
                frame(DATA_ISSUES, category_issues(rows)),
                frame(DATA_ISSUES, same_pictures(keys, triplets)),
                frame(DATA_ISSUES, overlap_issues(galleries)),
            ]
        ),
        picture_root=pictures,
    )


def same_pictures(keys: pl.DataFrame, triplets: pl.DataFrame) -> Iterator[dict[str, str]]:
    """Yield an issue ``same_picture`` for each picture that stands under several names.

    Which of them is found first is chance, so a target among them counts as found or not by the order of names.

    Args:
        keys: columns image and key; equal keys are exact copies.
        triplets: with a column target.
    """
    copies = (
        keys.filter(pl.col("key") != _NOTHING)
        .filter(pl.col("key").is_duplicated())
        .with_columns(is_target=pl.col("image").is_in(triplets["target"].drop_nulls().implode()))
        .group_by("key", maintain_order=True)
        .agg(pl.col("image").sort(), pl.col("is_target").sum())
    )
    for images, targets in copies.select("image", "is_target").iter_rows():
        some = ", ".join(images[:3]) + (", …" if len(images) > 3 else "")
        told = f"one picture stands under {len(images):,} names, {targets:,} of them targets: {some}"
        yield issue("same_picture", images[0], told)
