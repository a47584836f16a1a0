"""A data set's annotations and pictures as they are now, hashing only files that changed since the last look."""

from __future__ import annotations

import polars as pl

from cir_assets.assets.pipeline import DatasetGraph
from cir_assets.assets.tables import write_table
from cir_assets.datasets.tables import Annotations
from cir_assets.progress import ProgressFactory
from cir_assets.resources import Storage
from cir_assets.store.ledger import digest, digest_frame

STAT_MEMORY = "stat_memory"


def scanned(
    storage: Storage, graph: DatasetGraph, progress: ProgressFactory
) -> tuple[Annotations, pl.DataFrame, pl.DataFrame]:
    """Annotations, the frame of pictures that open, and every issue with the others."""
    from cir_assets.datasets.pictures import scan_pictures

    annotations = graph.source.read(storage.raw(graph.dataset))
    folder = storage.tables(graph.dataset) / "memory"
    memory = folder / f"{STAT_MEMORY}.parquet"
    images, issues, remembered = scan_pictures(
        annotations.pictures,
        annotations.picture_root,
        pixel_limit=graph.pixel_limit,
        memory=pl.read_parquet(memory) if memory.is_file() else None,
        progress=progress,
    )
    write_table(remembered, folder, STAT_MEMORY)
    missing = annotations.issues.filter(pl.col("kind") == "missing_picture")
    return annotations, images, pl.concat([missing, issues])


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
