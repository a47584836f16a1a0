"""Two evaluations side by side as a page: the differences with intervals, and queries gained and lost in pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from cir_assets.pictures.settings import PIXEL_LIMIT
from cir_assets.pictures.shrinking import thumbnails
from cir_assets.reporting.comparison import Comparison, short_names
from cir_assets.reporting.pictures import write_beside
from cir_assets.reporting.report import page_part

PICTURE_BUDGET = 6_000_000
"""Bytes all pictures may take in the page."""

SHOWN_RETRIEVED = 6
"""Pictures shown of what each evaluation found for a query."""


def write_comparison(
    destination: Path,
    names: tuple[str, str],
    found: Comparison,
    picture_path: Callable[[str], Path | None],
    *,
    retrieved: tuple[pl.DataFrame, pl.DataFrame] | None = None,
    each: int = 20,
) -> Path:
    """Write a comparison as one self-contained page: no request at all, equal bytes for equal inputs.

    Args:
        destination: the file, written beside and renamed.
        names: of the first and the second evaluation.
        found: what the second has over the first.
        picture_path: image id -> its file, or None.
        retrieved: what the first and the second found: query_id, rank from 1, image; None shows none of it.
        each: queries shown whose target came nearer, and further.

    Returns:
        ``destination``.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    nearer, further = found.nearer.head(each), found.further.head(each)
    best = [_best(frame, pl.concat([nearer, further])["query_id"]) for frame in retrieved or ()]
    images = pl.concat(
        [frame[side] for frame in (nearer, further) for side in ("reference", "target")]
        + [pl.Series([image for row in side.values() for image in row], dtype=pl.String) for side in best]
    )
    small = thumbnails(images, picture_path, budget=PICTURE_BUDGET, pixel_limit=PIXEL_LIMIT)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(page_part("comparison.html")).render(
        first=names[0],
        second=names[1],
        short=short_names(*names),
        found=found,
        style=Markup(page_part("page.css")),
        groups=[
            {"name": name, "total": every.height, "rows": _rows(shown, small.uris, best)}
            for name, every, shown in (
                ("Target nearer", found.nearer, nearer),
                ("Target further", found.further, further),
            )
        ],
        largest=max((max(abs(m.difference.low), abs(m.difference.high)) for m in found.metrics), default=0.0)
        or 1.0,
    )
    return write_beside(destination, page.encode())


def _best(retrieved: pl.DataFrame, queries: pl.Series) -> dict[str, list[str]]:
    """Query -> its best pictures, best first."""
    shown = retrieved.filter(
        pl.col("query_id").is_in(queries.implode()) & (pl.col("rank") <= SHOWN_RETRIEVED)
    )
    return dict(shown.sort("rank").group_by("query_id").agg("image").iter_rows())


def _rows(
    frame: pl.DataFrame, uris: Mapping[str, str], best: list[dict[str, list[str]]]
) -> list[dict[str, Any]]:
    return [
        {
            **row,
            "reference_uri": uris.get(row["reference"]),
            "target_uri": uris.get(row["target"]),
            "found": [
                _found(side.get(row["query_id"], []), row["target"], rank, uris)
                for side, rank in zip(best, (row["first_rank"], row["second_rank"]), strict=False)
            ],
        }
        for row in frame.iter_rows(named=True)
    ]


def _found(
    images: Sequence[str], target: str, rank: int, uris: Mapping[str, str]
) -> list[tuple[int, str, str | None]]:
    """Rank, picture and its thumbnail of what one evaluation found; the target at the end where it is not among it."""
    ranked = list(enumerate(images, start=1))
    if images and target not in images:
        ranked.append((rank, target))
    return [(place, image, uris.get(image)) for place, image in ranked]
