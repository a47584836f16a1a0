"""A data set's tables on disk: one Parquet file each, written beside and renamed, read by the steps below."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cir_assets.store.files import write_whole
from cir_assets.store.made import NotMade


def write_table(frame: pl.DataFrame, folder: Path, name: str) -> Path:
    """Write ``<folder>/<name>.parquet`` whole or not at all."""
    destination = folder / f"{name}.parquet"
    with write_whole(destination) as beside:
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
