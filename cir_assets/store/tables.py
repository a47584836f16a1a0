"""A data set's tables on disk: one Parquet file each, written beside and renamed, read by the steps below."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from cir_assets.store.files import written_whole
from cir_assets.store.made import NotMade

COLUMNS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "images": {
        "image": ("string", "the picture's id in its data set"),
        "path": ("string", "where it lies below the picture folder"),
        "image_key": ("string", "SHA-256 of the file's bytes; equal pictures have equal keys"),
        "format": ("string", "file format as found in the header"),
        "mode": ("string", "colour mode: RGB, L, P, RGBA, CMYK, …"),
        "width": ("int", "pixels"),
        "height": ("int", "pixels"),
        "bytes": ("int", "size of the file"),
    },
    "triplets": {
        "triplet_id": ("string", "unique in its split"),
        "split": ("string", "train, val or test"),
        "category": ("string", "dress, shirt, …; 'all' where a data set has none"),
        "reference": ("string", "the picture shown"),
        "target": ("string", "the picture meant; null where the data set keeps it secret"),
        "captions": ("list[string]", "relative captions as written"),
        "further_targets": ("list[string]", "other pictures that are right too"),
        "set_id": ("string", "the set of look-alikes the query belongs to; null where there are none"),
        "set_members": ("list[string]", "the pictures of that set"),
    },
}
"""Column name -> type and meaning, shown as column schema in the UI."""


def write_table(frame: pl.DataFrame, folder: Path, name: str) -> Path:
    """Write ``<folder>/<name>.parquet`` whole or not at all."""
    destination = folder / f"{name}.parquet"
    with written_whole(destination) as beside:
        frame.write_parquet(beside)
    return destination


def read_table(folder: Path, name: str) -> pl.DataFrame:
    """Read ``<folder>/<name>.parquet``.

    Raises:
        NotMade: when it was never written, naming the step that does.
    """
    source = folder / f"{name}.parquet"
    if not source.is_file():
        raise NotMade(f"{source} is not there: materialize {folder.name}/{name.split('/')[0]} first")
    return pl.read_parquet(source)
