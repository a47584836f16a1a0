"""Two evaluations side by side as a page: the differences with intervals, and queries gained and lost in pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from cir_assets.reporting.comparison import Comparison
from cir_assets.reporting.pictures import thumbnails, write_beside
from cir_assets.reporting.report import page_part

PICTURE_BUDGET = 3_000_000
"""Bytes all pictures may take in the page."""


def write_comparison(
    destination: Path,
    names: tuple[str, str],
    found: Comparison,
    picture_path: Callable[[str], Path | None],
    *,
    each: int = 20,
    pixel_limit: int = 100_000_000,
) -> Path:
    """Write a comparison as one self-contained page: no request at all, equal bytes for equal inputs.

    Args:
        destination: the file, written beside and renamed.
        names: of the first and the second evaluation.
        found: what the second has over the first.
        picture_path: image id -> its file, or None.
        each: queries shown that gained and that lost most.
        pixel_limit: pictures of more pixels are not opened.

    Returns:
        ``destination``.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    better, worse = found.changes.filter(pl.col("places") > 0), found.changes.filter(pl.col("places") < 0)
    gained, lost = better.head(each), worse.tail(each).reverse()
    images = pl.concat([frame[side] for frame in (gained, lost) for side in ("reference", "target")])
    small = thumbnails(images, picture_path, budget=PICTURE_BUDGET, pixel_limit=pixel_limit)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(page_part("comparison.html")).render(
        first=names[0],
        second=names[1],
        found=found,
        style=Markup(page_part("page.css")),
        groups=[
            {"name": name, "total": every.height, "rows": _rows(shown, small.uris)}
            for name, every, shown in (
                ("Gained most", better, gained),
                ("Lost most", worse, lost),
            )
        ],
        largest=max((max(abs(m.difference.low), abs(m.difference.high)) for m in found.metrics), default=0.0)
        or 1.0,
    )
    return write_beside(destination, page.encode())


def _rows(frame: pl.DataFrame, uris: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {**row, "reference_uri": uris.get(row["reference"]), "target_uri": uris.get(row["target"])}
        for row in frame.iter_rows(named=True)
    ]
