"""Training curves as small pictures within Markdown text, for a UI that shows no charts of its own."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import polars as pl

from cir_assets.models.stages import LABELS
from cir_assets.reporting.ladder import markdown_text

_WIDTH, _HEIGHT = 720, 220
_INK, _MUTED, _GRID, _LOSS, _SCORE = "#23262b", "#5c636d", "#e3e1da", "#a8470a", "#0f766e"


def best_epoch(epochs: pl.DataFrame) -> int | None:
    """The earliest epoch with the highest headline on val; None where none was measured."""
    measured = epochs.filter(
        pl.col("selection_metric").is_not_null() & pl.col("selection_metric").is_not_nan()
    )
    if measured.is_empty():
        return None
    return int(measured.sort(["selection_metric", "epoch"], descending=[True, False])["epoch"][0])


def curves_markdown(epochs: pl.DataFrame) -> str:
    """Every stage's whole curve as a picture, one below the other, in the order of :data:`LABELS`.

    Args:
        epochs: rows of ``training_epochs`` of one pipeline: stage, epoch (from 1), loss, selection_metric (percent).

    Returns:
        Markdown whose pictures are within it; where nothing was trained it says so.
    """
    known = list(LABELS)
    stages = sorted(
        epochs["stage"].unique(), key=lambda stage: (known.index(stage) if stage in known else 9, stage)
    )
    parts = []
    for stage in stages:
        name = markdown_text(LABELS.get(stage, stage))
        picture = curve_svg(epochs.filter(pl.col("stage") == stage).sort("epoch"))
        encoded = base64.b64encode(picture.encode()).decode()
        parts.append(
            f"**{name}**\n\n![{name}: loss and headline on val](data:image/svg+xml;base64,{encoded})"
        )
    return "\n\n".join(parts) or "No model was trained in this pipeline."


def curve_svg(epochs: pl.DataFrame) -> str:
    """One stage's loss and, beside it, headline on val over epochs, as an SVG of 720 x 220 on white.

    Args:
        epochs: epoch (from 1), loss, selection_metric (percent), in order, at least one; what is no number is left out.
    """
    kept = best_epoch(epochs)
    panels = [
        _panel(epochs, "loss", "loss", 4, 0, _LOSS, None),
        _panel(epochs, "selection_metric", "headline on val, %", 2, _WIDTH // 2, _SCORE, kept),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>{"".join(panels)}</svg>'
    )


def _panel(
    epochs: pl.DataFrame, column: str, title: str, digits: int, left: int, colour: str, kept: int | None
) -> str:
    """One line with its lowest and highest value, its first and last epoch; the epoch kept is marked."""
    points = [
        (epoch, value)
        for epoch, value in epochs.select("epoch", column).iter_rows()
        if value is not None and math.isfinite(value)
    ]
    if not points:
        return _text(left + 14, 24, f"{title}: not measured", _MUTED)
    first, last = epochs["epoch"][0], epochs["epoch"][-1]
    values = [value for _, value in points]
    low, high = min(values), max(values)
    x0, x1, y0, y1 = left + 66, left + _WIDTH // 2 - 16, _HEIGHT - 34, 40

    def place(epoch: int, value: float) -> tuple[float, float]:
        across = (epoch - first) / (last - first) if last > first else 0.5
        up = (value - low) / (high - low) if high > low else 0.5
        return round(x0 + across * (x1 - x0), 1), round(y0 - up * (y0 - y1), 1)

    drawn = [
        _text(left + 14, 22, f"{title}: {values[0]:.{digits}f} → {values[-1]:.{digits}f}", _INK),
        *(f'<path d="M{x0} {y}H{x1}" stroke="{_GRID}"/>' for y in (y0, y1)),
        _text(x0 - 8, y0 + 4, f"{low:.{digits}f}", _MUTED, "end"),
        _text(x0, y0 + 20, f"epoch {first}", _MUTED),
    ]
    if high > low:
        drawn.append(_text(x0 - 8, y1 + 4, f"{high:.{digits}f}", _MUTED, "end"))
    if last > first:
        drawn.append(_text(x1, y0 + 20, f"{last}", _MUTED, "end"))
    drawn.append(_line([place(*point) for point in points], colour))
    score = dict(points).get(kept) if kept is not None else None
    if kept is not None and score is not None:
        x, y = place(kept, score)
        drawn.append(f'<circle cx="{x}" cy="{y}" r="5" fill="{colour}" stroke="#ffffff" stroke-width="1.5"/>')
        said = f"kept: epoch {kept}, {score:.{digits}f}"
        drawn.append(_text((x0 + x1) / 2, y0 + 20, said, colour, "middle"))
    return "".join(drawn)


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    """A line through points; a dot where there is one alone."""
    if len(points) == 1:
        return f'<circle cx="{points[0][0]}" cy="{points[0][1]}" r="3.5" fill="{colour}"/>'
    return (
        f'<polyline points="{" ".join(f"{x},{y}" for x, y in points)}" fill="none" stroke="{colour}" '
        'stroke-width="2" stroke-linejoin="round"/>'
    )


def _text(x: float, y: float, said: str, colour: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}">{said}</text>'
