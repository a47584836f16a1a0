"""A data set's annotations and pictures as they are now, reading only files that changed since the last look."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cir_assets.datasets.tables import ABOUT_FILES
from cir_assets.pipeline.given_features import with_given_pictures
from cir_assets.pipeline.holding import memory_of
from cir_assets.pipeline.identity import DatasetPlan
from cir_assets.pipeline.step import Work
from cir_assets.store.contracts import STAT_MEMORY
from cir_assets.store.digests import digest, digest_frame
from cir_assets.store.tables import table_file, write_table

if TYPE_CHECKING:
    from cir_assets.datasets.tables import Annotations


def scan(work: Work, data: DatasetPlan) -> tuple[Annotations, pl.DataFrame, pl.DataFrame]:
    """Annotations, the frame of pictures that open, and every issue with the others."""
    from cir_assets.pictures.scanning import scan_pictures

    annotations = data.source.annotations(work.storage.raw(data.dataset))
    folder = memory_of(work.storage, data.dataset)
    memory = table_file(folder, STAT_MEMORY)
    images, issues, remembered = scan_pictures(
        annotations.pictures,
        annotations.picture_root,
        pixel_limit=data.pixel_limit,
        memory=_remembered(memory),
        progress=work.progress,
    )
    write_table(remembered, folder, STAT_MEMORY)
    if data.source.features:
        images, issues = with_given_pictures(data.source, annotations.pictures, images, issues)
    of_files = annotations.issues.filter(pl.col("kind").is_in(ABOUT_FILES))
    return annotations, images, pl.concat([of_files, issues])


def _remembered(memory: Path) -> pl.DataFrame | None:
    """What an earlier scan found; a file that does not read, as a power failure leaves it, counts as none."""
    with suppress(OSError, pl.exceptions.PolarsError):
        return pl.read_parquet(memory)
    return None


def content_version(annotations: Annotations, images: pl.DataFrame, issues: pl.DataFrame) -> str:
    """Version of what a data set's files say and show: the digest of every annotation and every picture's bytes."""
    return digest(
        {
            "galleries": digest_frame(annotations.galleries),
            "triplets": digest_frame(annotations.triplets),
            "images": digest_frame(images),
            "issues": digest_frame(issues),
        }
    )
