"""What a report says first: one sentence in plain words, one query in pictures, and the main figures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import polars as pl

from cir_assets.reporting.inputs import ReportInputs
from cir_assets.reporting.ladder import CERTAIN, HEADLINE, Ladder, metric_label
from cir_assets.reporting.sheets import Sheet, queries_in_order, sheet_of
from cir_assets.retrieval.methods import ZERO_SHOT
from cir_assets.retrieval.protocols import RECALL

FEW_QUERIES, ROUGH_QUERIES = 10, 100
"""Figures of fewer queries say nothing, and are rough: an interval is some 60 and 20 points wide."""

SHORT_CAPTION = 90
"""Characters of a caption that is read at a glance."""

FAR = 10
"""A target further down than this was not found by who looks at the first pictures."""


def sentence(ladder: Ladder) -> str | None:
    """How often the method served finds the picture meant, as people say it; None where nothing was measured."""
    served = ladder.served
    if served is None:
        return None
    told = [k for name, k in ladder.main_metrics if name == RECALL]
    others = sorted((k for name, k in ladder.metrics if name == RECALL and k not in told), key=_from_ten)
    told = sorted([*told, *others][:2] if len(told) < 2 else told, reverse=True)
    found = {k: ladder.figure(served.name, (RECALL, k)) for k in told}
    known = {k: figure for k, figure in found.items() if figure.value is not None}
    if not known:
        return None
    telling = [k for k, figure in known.items() if (figure.chance or 0.0) < CERTAIN]
    if not telling:
        return (
            f"The galleries on {ladder.split} hold no more pictures than are looked at, so that any ranking finds "
            "the picture meant: these figures say nothing."
        )
    first, *more = [(k, known[k].value or 0.0) for k in telling]
    said = f"In {first[1]:.0f} of 100 searches the picture meant is among the first {first[0]}"
    said += "".join(f", in {value:.0f} among the first {k}" for k, value in more)
    plain = [ladder.figure(ZERO_SHOT.name, (RECALL, k)).value for k in telling]
    if served is not ZERO_SHOT and all(value is not None for value in plain):
        said += f"; plain CLIP: {' and '.join(f'{value:.0f}' for value in plain)}"
    if ladder.queries < ROUGH_QUERIES:
        nothing = "say nothing" if ladder.queries < FEW_QUERIES else "are rough"
        said += f". Only {ladder.queries:,} searches were tried, so these figures {nothing}"
    return f"{said}."


def showcase(inputs: ReportInputs, ladder: Ladder) -> Sheet | None:
    """One query in pictures that tells what it is about: found first, in few words, and not by plain CLIP."""
    assert ladder.served is not None
    ordered = queries_in_order(inputs, ladder.evaluation_ids[ladder.served.name])
    if ordered.is_empty():
        return None
    plain = inputs.rankings.filter(evaluation_id=ladder.evaluation_ids.get(ZERO_SHOT.name, ""))
    before = plain.select("category", "query_id", plain_rank="target_rank")
    chosen = (
        ordered.join(before, on=["category", "query_id"], how="left", maintain_order="left")
        .with_columns(
            plainly=pl.min_horizontal(pl.col("plain_rank").fill_null(1), FAR + 1),
            length=pl.col("caption").str.len_chars(),
        )
        .sort(
            "target_rank",
            pl.col("length") > SHORT_CAPTION,
            -pl.col("plainly"),
            "length",
            "query_id",
        )
    )
    return sheet_of(inputs, ladder, chosen["query_id"][0])


def cards(inputs: ReportInputs, every: Sequence[Ladder], shown: Ladder | None) -> list[dict[str, Any]]:
    """The main figures, for the top of the page; those that say nothing are told so, and are grey."""
    made = []
    first = every[0].protocol if every else None
    for ladder in every:
        if ladder.protocol != first or ladder.served is None:
            continue
        figure = ladder.figure(ladder.served.name, HEADLINE)
        if figure.value is None:
            continue
        parts = " and ".join(metric_label(key) for key in ladder.main_metrics if key != HEADLINE)
        notes = [f"95 % interval {figure.low:.1f} to {figure.high:.1f}."] if figure.has_interval else []
        notes += [f"Chance {figure.chance:.1f}."] if figure.chance is not None else []
        notes.append(f"Mean of {parts}.")
        doubts = [f"{ladder.queries:,} queries, says nothing"] if ladder.queries < FEW_QUERIES else []
        doubts += [figure.doubt] if figure.doubt else []
        made.append(
            {
                "name": f"{ladder.served.label}, headline on {ladder.split}",
                "value": f"{figure.value:.1f}",
                "unit": "%",
                "note": " ".join(notes),
                "doubt": ", ".join(doubts) or None,
            }
        )
    gain = _gain(every[0]) if every else None
    if gain is not None and every[0].served is not None:
        made.append(
            {
                "name": f"Over {ZERO_SHOT.spoken} on {every[0].split}",
                "value": f"{gain:+.1f}".replace("-", "\N{MINUS SIGN}"),
                "unit": "points",
                "note": f"Headline of {every[0].served.spoken} less that of picture + caption with CLIP as it came.",
                "doubt": None,
            }
        )
    if shown is not None and shown.served is not None:
        own = inputs.rankings.filter(evaluation_id=shown.evaluation_ids[shown.served.name])
        if own.height:
            made.append(
                {
                    "name": f"Median rank of the target on {shown.split}",
                    "value": f"{statistics.median(own['target_rank'].to_list()):,.0f}",
                    "unit": "",
                    "note": f"Of {own.height:,} queries{_among(shown)}.",
                    "doubt": None,
                }
            )
    return made


def _from_ten(k: int) -> tuple[int, int]:
    """Cut-offs people know first: 10, then the others from the nearest."""
    return abs(k - 10), k


def _among(ladder: Ladder) -> str:
    """Among how many pictures a query is ranked."""
    sizes = sorted(set(ladder.gallery_sizes.values()))
    if not sizes:
        return f"; {ladder.gallery_size:,} pictures in the galleries"
    return f", each ranked among {sizes[0]:,}{f' to {sizes[-1]:,}' if len(sizes) > 1 else ''} pictures"


def _gain(ladder: Ladder) -> float | None:
    """Headline of the method served less that of the zero-shot sum, in points; None where these are one."""
    if ladder.served in (None, ZERO_SHOT):
        return None
    ours, plain = (ladder.figure(method.name, HEADLINE).value for method in (ladder.served, ZERO_SHOT))
    return None if ours is None or plain is None else ours - plain
