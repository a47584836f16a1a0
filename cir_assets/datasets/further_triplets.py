"""More triplets to train on, from tables, for the pictures a data set has anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from cir_assets.datasets.captions import caption_issues
from cir_assets.datasets.catalogue.names import Match, PictureNames
from cir_assets.datasets.catalogue.rows import usable_rows
from cir_assets.datasets.catalogue.table import read_table
from cir_assets.datasets.tables import DATA_ISSUES, TRIPLETS, Annotations, frame


def with_further_triplets(annotations: Annotations, tables: Sequence[Path]) -> Annotations:
    """Add the rows of tables to the train triplets of a data set.

    A table is one of a catalogue, with reference, target, caption and optionally caption_2 and category (see
    ``usable_rows``), whose pictures are named by their ids, or by their paths with or without an ending. Triplets are
    called ``further<table from 1>-row-<n>``. They join train alone and no gallery; sets are not read.

    Rules: beside what ``usable_rows`` drops and tells (``unknown_picture``, ``broken_row``, …) a row is dropped that
    has no target (``no_target``), or that a column split has in another split (``not_train``). One that shows a picture
    of a gallery of val or test is kept and told (``cross_split_leakage``).

    Raises:
        BrokenAnnotations: a table cannot be read, lacks a column, or names no picture of the data set.
    """
    triplets, issues = [annotations.triplets], [annotations.issues]
    evaluated = annotations.galleries.filter(pl.col("split") != "train")["image"].unique().implode()
    names = _OfDataset(annotations)
    for number, table in enumerate(tables, start=1):
        usable = usable_rows(read_table(table), names)
        rows = usable.rows.with_columns(triplet_id=pl.format(f"further{number}-{{}}", "triplet_id"))
        without = (pl.col("target").is_null() | (pl.col("captions").list.len() == 0)).fill_null(True)
        elsewhere = (pl.col("split") != "train").fill_null(False)
        kept = rows.filter(~without & ~elsewhere)
        leaks = pl.col("reference").is_in(evaluated) | pl.col("target").is_in(evaluated)
        added = frame(
            TRIPLETS,
            (
                {**row, "split": "train", "further_targets": [], "set_id": None, "set_members": None}
                for row in kept.drop("line").iter_rows(named=True)
            ),
        )
        triplets.append(added)
        issues += [
            usable.issues.with_columns(
                subject=pl.when(pl.col("subject").str.starts_with("row-"))
                .then(pl.format(f"train/further{number}-{{}}", "subject"))
                .otherwise("subject")
            ),
            _told(
                rows.filter(without), table, "no_target", "no target or no words, and it trains; row dropped"
            ),
            _told(
                rows.filter(~without & elsewhere), table, "not_train", "its split is not train; row dropped"
            ),
            _told(kept.filter(leaks), table, "cross_split_leakage", "shows a picture of val or test; kept"),
            frame(DATA_ISSUES, caption_issues(added)),
        ]
    return replace(annotations, triplets=pl.concat(triplets), issues=pl.concat(issues))


def _told(rows: pl.DataFrame, table: Path, kind: str, detail: str) -> pl.DataFrame:
    return rows.select(
        kind=pl.lit(kind),
        subject=pl.format("train/{}", "triplet_id"),
        detail=pl.format(f"{{}}, row or line {{}}: {detail}", pl.lit(table.name), "line"),
    ).cast(DATA_ISSUES.schema)


class _OfDataset(PictureNames):
    """Finds the pictures of a data set by id, else by path as a catalogue's are found."""

    def __init__(self, annotations: Annotations) -> None:
        self._image_of = {
            path: image for image, path in annotations.pictures.select("image", "path").iter_rows()
        }
        super().__init__(list(self._image_of), annotations.picture_root)
        self._by_id = {image: Match(image) for image in self._image_of.values()}

    def find(self, text: str) -> Match:
        """The picture of that id, or of that path."""
        if match := self._by_id.get(text):
            return match
        match = super().find(text)
        return match if match.picture is None else replace(match, picture=self._image_of[match.picture])
