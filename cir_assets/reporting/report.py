"""The report: one page of one pipeline that needs nothing but itself."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from cir_assets.models.stages import LABELS
from cir_assets.pictures.shrinking import Thumbnails, thumbnails, thumbnails_beside
from cir_assets.reporting import charts
from cir_assets.reporting.comparison import compare_rankings
from cir_assets.reporting.curves import best_epoch
from cir_assets.reporting.inputs import ReportInputs
from cir_assets.reporting.ladder import HEADLINE, Ladder, ladders, method_label, metric_label
from cir_assets.reporting.one_modality import OneModality, one_modality
from cir_assets.reporting.pictures import write_beside
from cir_assets.reporting.sheets import (
    BANDS,
    SHEET_SPLIT,
    SHOWN_RETRIEVED,
    Sheet,
    choose_sheets,
    queries_in_order,
    text_weights,
)
from cir_assets.reporting.story import cards, sentence, showcase
from cir_assets.reporting.tables import OURS, SYSTEM, ComparisonTable, arranged
from cir_assets.retrieval.methods import METHODS, ZERO_SHOT, Method
from cir_assets.retrieval.metrics import MEAN_CATEGORY
from cir_assets.retrieval.protocols import MetricKey

LISTED_QUERIES = 10_000
"""Queries in the list that can be searched; of more, the best and the worst would be cut apart unseen."""

PICTURES = "pictures"
"""The folder of thumbnails beside the page."""

PICTURE_BUDGET = 1_900_000
"""Bytes all thumbnails within the page may take; they are made smaller where they would take more."""

LISTED_CAPTION = 240
"""Characters of a caption in that list."""

CHARTED_CATEGORIES = 12
"""A chart of more categories cannot be read."""


def write_report(inputs: ReportInputs, folder: Path) -> Path:
    """Write ``<folder>/index.html``: no request to the net, the same bytes for equal inputs.

    Charts and the chosen sheets are within the page; the pictures of all other queries lie beside it as thumbnails, in
    ``<folder>/pictures``, and are read when a query is opened.

    Pictures that do not open are shown as tiles with the reason; where there are no queries, epochs or
    lambdas the page says so in their place.

    Args:
        inputs: tables of one pipeline, see :class:`ReportInputs`.
        folder: made if it is not there.

    Returns:
        The page, written beside and renamed.

    Raises:
        OSError: it cannot be written; a page that was there before stays.
    """
    shown = _shown_ladder(inputs, ladders(inputs.own_evaluations, inputs.metrics))
    beside = thumbnails_beside(
        _every_image(inputs, shown) if shown else [],
        inputs.picture_path,
        folder / PICTURES,
        pixel_limit=inputs.pixel_limit,
    )
    return write_beside(folder / "index.html", page(inputs, beside).encode())


def page(inputs: ReportInputs, beside: Mapping[str, str] | None = None) -> str:
    """The report as HTML, as :func:`write_report` writes it.

    Args:
        inputs: tables of one pipeline.
        beside: image id -> name of its thumbnail in the folder ``pictures`` beside the page; without them queries are
            listed and not opened.
    """
    every = ladders(inputs.own_evaluations, inputs.metrics)
    shown_ladder = _shown_ladder(inputs, every)
    sheets = choose_sheets(inputs, shown_ladder) if shown_ladder else []
    example = showcase(inputs, shown_ladder) if shown_ladder else None
    small = thumbnails(
        (image for sheet in [*([example] if example else []), *sheets] for image in sheet.images),
        inputs.picture_path,
        budget=PICTURE_BUDGET,
        pixel_limit=inputs.pixel_limit,
    )
    drawn: dict[str, charts.Chart] = {}
    evaluations = [_evaluation(inputs, ladder, place, drawn) for place, ladder in enumerate(every)]
    numbers = {image: place for place, image in enumerate(small.uris)}
    data = {
        "charts": drawn,
        "dark": charts.DARK_OF,
        "pictures": list(small.uris.values()),
        "queries": _listed_queries(inputs, shown_ladder),
        "opened": _opened_queries(inputs, shown_ladder, beside or {}),
    }
    trainings = _trainings(inputs, drawn)
    weights = _lambdas(inputs, shown_ladder, drawn)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # A value must never close the script it stands in.
    script = get_plotlyjs().replace("</script", "<\\/script")
    return environment.from_string(page_part("page.html")).render(
        inputs=inputs,
        style=Markup(page_part("page.css")),
        plotly=Markup(script),
        charts_script=Markup(page_part("charts.js")),
        script=Markup(page_part("page.js")),
        data=Markup(json_in_script(data)),
        # A chart takes its room before it is drawn, so that links to sections below it land where they should.
        heights={name: chart["layout"]["height"] for name, chart in drawn.items()},
        made_at=_moment(_newest(inputs.own_evaluations)),
        sentence=sentence(shown_ladder) if shown_ladder else None,
        example=_sheet(example, shown_ladder, small, numbers) if example and shown_ladder else None,
        nothing_learnt=shown_ladder.nothing_learnt if shown_ladder else None,
        cards=cards(inputs, every, shown_ladder),
        neighbours=[(" · ".join(place), _address(place)) for place in inputs.neighbours],
        evaluations=evaluations,
        galleries=_gallery_sizes(inputs),
        trainings=trainings,
        weights=weights,
        bands=[
            {
                "name": band,
                "sheets": [
                    _sheet(sheet, shown_ladder, small, numbers)
                    for sheet in sheets
                    if shown_ladder and sheet.band == band
                ],
            }
            for band in BANDS
            if any(sheet.band == band for sheet in sheets)
        ],
        sheet_categories=sorted({sheet.category for sheet in sheets}),
        shown=shown_ladder,
        no_sheets=_no_sheets(inputs, every, shown_ladder, sheets),
        top=SHOWN_RETRIEVED,
    )


def _shown_ladder(inputs: ReportInputs, every: Sequence[Ladder]) -> Ladder | None:
    """The ladder whose queries are shown in pictures: the first of the split with a method that serves."""
    for ladder in every:
        wanted = inputs.sheet_protocol in (None, ladder.protocol)
        if ladder.split == SHEET_SPLIT and wanted and ladder.served is not None:
            return ladder
    return None


def _served(shown: Ladder) -> Method:
    """The method whose queries a ladder shows in pictures."""
    assert shown.served is not None
    return shown.served


def _shown_evaluation(shown: Ladder) -> str:
    """That method's evaluation."""
    return shown.evaluation_ids[_served(shown).name]


def _compared(shown: Ladder) -> int:
    """The place of the zero-shot sum, which that method is held against; -1 where it is that method or is not there."""
    there = ZERO_SHOT.name in shown.methods and shown.served is not ZERO_SHOT
    return shown.methods.index(ZERO_SHOT.name) if there else -1


def _no_sheets(
    inputs: ReportInputs, every: Sequence[Ladder], shown: Ladder | None, sheets: Sequence[Sheet]
) -> str | None:
    """Why no query is shown in pictures, or None."""
    if sheets:
        return None
    if not every:
        return "This pipeline was not evaluated yet: materialize its evaluation, then this report."
    if shown is None:
        under = f" under the {inputs.sheet_protocol} protocol" if inputs.sheet_protocol else ""
        return (
            f"No method that may serve was evaluated on {SHEET_SPLIT}{under}, so there is no query to show."
        )
    if not shown.queries:
        return (
            f"The evaluation on {shown.split} has no queries: no triplet of that split was left whose "
            "pictures all open. The data set's issues say which pictures are missing."
        )
    return f"The rankings of the {shown.queries:,} queries on {shown.split} were not kept."


def _evaluation(
    inputs: ReportInputs, ladder: Ladder, place: int, drawn: dict[str, charts.Chart]
) -> dict[str, Any]:
    """One split and protocol as the page shows it; its charts go to ``drawn``."""
    drawn[f"ladder-{place}"] = charts.ladder_chart(ladder)
    curves = charts.recall_curves(ladder, inputs.rankings)
    if curves:
        drawn[f"recall-{place}"] = charts.recall_chart(ladder, curves, ladder.served)
    alone = one_modality(ladder, inputs.rankings)
    if alone:
        drawn[f"alone-{place}"] = charts.one_modality_chart(alone)
    # The headline stands second, where a narrow screen still shows it.
    columns = tuple(sorted(ladder.metrics, key=lambda key: key != HEADLINE))
    metric = next((key for key in ladder.main_metrics if key != HEADLINE), None)
    by_category = [key for key in ladder.main_metrics if key != HEADLINE]
    charted = 1 < len(ladder.categories) <= CHARTED_CATEGORIES and metric is not None
    if charted and metric is not None:
        drawn[f"category-{place}"] = charts.category_chart(ladder, metric)
    among = charts.published_chart(_beside_published(inputs, ladder), ladder.main_metrics[:-1])
    if among is not None:
        drawn[f"published-{place}"] = among
    return {
        "id": place,
        "published": among is not None,
        "ladder": ladder,
        "heads": [metric_label(key) for key in columns],
        "chance": [_drawn_at_random(ladder, key) for key in columns],
        "chance_by_category": [
            _drawn_at_random(ladder, key, category) for category in ladder.categories for key in by_category
        ],
        "alone": alone,
        "alone_summary": _alone_summary(alone),
        "paired": _paired(inputs, ladder),
        "rows": [
            {
                "method": method,
                "label": ladder.label(method),
                "explanation": METHODS[method].explanation
                if method in METHODS
                else "as another system ranked",
                "look": charts.method_look(method)[0],
                "cells": [_cell(ladder, method, key) for key in columns],
                "alone": [(each.recall.get(method), each.recall_left.get(method)) for each in alone],
                "categories": [
                    _cell(ladder, method, key, category)
                    for category in ladder.categories
                    for key in by_category
                ],
            }
            for method in ladder.methods
        ],
        "by_category": [metric_label(key) for key in by_category],
        "charted": charted,
        "curves": bool(curves),
        "summary": _ladder_summary(ladder),
        "recall_summary": _recall_summary(ladder, curves),
    }


def _beside_published(inputs: ReportInputs, ladder: Ladder) -> ComparisonTable:
    """The method that serves and the zero-shot sum among what others published under the ladder's protocol."""
    ours = [method for method in ladder.methods if METHODS.get(method) in (ladder.served, ZERO_SHOT)]
    found: list[tuple[Any, ...]] = [
        (
            f"{method_label(method)} ({inputs.recipe})",
            inputs.backbone,
            OURS,
            OURS,
            *metric,
            each.value,
            each.low,
            each.high,
        )
        for method in ours
        for metric in ladder.metrics
        if (each := ladder.figure(method, metric)).value is not None
    ]
    if inputs.published is not None:
        place = {"dataset": inputs.dataset, "split": ladder.split, "protocol": ladder.protocol}
        theirs = inputs.published.filter(**place, category=MEAN_CATEGORY)
        found += [(*row, None, None) for row in theirs.select(*SYSTEM, "metric", "k", "value").iter_rows()]
    return arranged(f"{inputs.dataset}, {ladder.split}, protocol {ladder.protocol}, percent", found)


def _cell(
    ladder: Ladder, method: str, metric: tuple[str, int], category: str | None = None
) -> dict[str, Any]:
    """A figure split into value and interval, so that the page can set them apart."""
    place = () if category is None else (category,)
    figure = ladder.figure(method, metric, *place)
    value, _, interval = figure.text().partition(" ")
    return {
        "value": value,
        "interval": interval.strip("()"),
        "doubt": figure.doubt,
        "best": figure.value is not None and figure.value == ladder.best(metric, *place) and not figure.doubt,
        "share": figure.value or 0.0,
    }


def _drawn_at_random(ladder: Ladder, metric: MetricKey, category: str = MEAN_CATEGORY) -> str | None:
    """What a random ranking gets, for a table; None where it was not taken."""
    chance = ladder.chance(metric, category)
    return None if chance is None else f"{chance:.1f}"


def _paired(inputs: ReportInputs, ladder: Ladder) -> list[str]:
    """The method served against each ranking brought from elsewhere, query by query, a sentence each."""
    said = []
    for method, label in ladder.labels.items():
        if ladder.served is None:
            continue
        ours, theirs = (
            inputs.rankings.filter(evaluation_id=ladder.evaluation_ids[name])
            for name in (ladder.served.name, method)
        )
        if ours.is_empty() or theirs.is_empty():
            continue
        found = compare_rankings(theirs, ours, ladder.protocol).metrics[0]
        by = found.difference
        said.append(
            f"{ladder.served.label} less {label}: {by.value:+.1f} points of {found.metric.replace('_', ' ')} "
            f"(95 % {by.low:+.1f} to {by.high:+.1f}, paired over the same queries), which is "
            f"{'a difference' if by.excludes_zero else 'no difference that shows'}."
        )
    return said


def _alone_summary(alone: Sequence[OneModality]) -> str:
    """What one modality alone finds, for those who do not see the chart."""
    return " ".join(
        f"Within {each.k}: the picture alone finds {each.image_only:.0f} % of the queries, the text alone "
        f"{each.text_only:.0f} %, one or the other {each.either:.0f} %; {each.neither:.0f} % need both."
        for each in alone
    )


def _address(place: tuple[str, str]) -> str:
    """Another report of the data set, from this one."""
    return "/".join(["..", "..", *map(quote, place), "index.html"])


def _ladder_summary(ladder: Ladder) -> str:
    """The ladder in a sentence, for those who do not see the chart."""
    said = [
        f"{ladder.label(method)} {figure.value:.1f}"
        for method in ladder.methods
        if (figure := ladder.figure(method, HEADLINE)).value is not None
    ]
    return f"Headline in percent on {ladder.split}: {', '.join(said)}." if said else "No figure was measured."


def _recall_summary(ladder: Ladder, curves: Mapping[str, Sequence[float]]) -> str:
    said = [
        f"{ladder.label(method)} {values[0]:.0f} to {values[-1]:.0f}" for method, values in curves.items()
    ]
    return f"Recall in percent from k = 1 to k = {charts.RECALL_DEPTH}: {', '.join(said)}."


def _gallery_sizes(inputs: ReportInputs) -> list[dict[str, str]]:
    """How many pictures each split's galleries hold, in total and by category."""
    if inputs.galleries is None:
        return []
    found = []
    splits = {"train": 0, "val": 1, "test": 2}
    for split in sorted(inputs.galleries["split"].unique(), key=lambda name: (splits.get(name, 3), name)):
        rows = inputs.galleries.filter(pl.col("split") == split)
        sizes = rows.group_by("category", maintain_order=True).len().sort("category")
        parts = ", ".join(f"{category} {size:,}" for category, size in sizes.iter_rows())
        total = rows["image"].n_unique()
        found.append(
            {"split": split, "text": f"{total:,} pictures" + (f" ({parts})" if sizes.height > 1 else "")}
        )
    return found


def _trainings(inputs: ReportInputs, drawn: dict[str, charts.Chart]) -> list[dict[str, str]]:
    """Each stage's curve; its chart goes to ``drawn``."""
    epochs = inputs.own_epochs
    trainings = []
    known = list(LABELS)
    stages = sorted(
        epochs["stage"].unique(), key=lambda stage: (known.index(stage) if stage in known else 9, stage)
    )
    for place, stage in enumerate(stages):
        rows = epochs.filter(pl.col("stage") == stage)
        drawn[f"training-{place}"] = charts.training_chart(stage, rows)
        best = best_epoch(rows)
        kept = ""
        if best is not None:
            score = rows.filter(pl.col("epoch") == best)["selection_metric"][0]
            kept = f" Kept: epoch {best}, headline {score:.1f} % on val."
        seconds = sum(rows["seconds"].to_list()) if "seconds" in rows.columns else 0.0
        took = f", {_duration(seconds)}" if seconds else ""
        first, last = rows["loss"][0], rows["loss"][-1]
        trainings.append(
            {
                "chart": f"training-{place}",
                "name": LABELS.get(stage, stage),
                "text": f"{rows.height:,} epochs{took}. Loss {first:.3f} to {last:.3f}.{kept}",
            }
        )
    return trainings


def _lambdas(inputs: ReportInputs, shown: Ladder | None, drawn: dict[str, charts.Chart]) -> str | None:
    """What there is to say of lambda; its chart goes to ``drawn``. None where it was not kept."""
    if shown is None:
        return None
    rankings = inputs.rankings.filter(evaluation_id=_shown_evaluation(shown))
    weights = text_weights(rankings)
    weights_found: list[float] = []
    weights_missed: list[float] = []
    for query, rank in rankings.select("query_id", "target_rank").iter_rows():
        if query in weights:
            (weights_found if rank <= 10 else weights_missed).append(weights[query])
    if not weights_found and not weights_missed:
        return None
    drawn["lambda"] = charts.lambda_chart(weights_found, weights_missed)
    everything = sorted([*weights_found, *weights_missed])
    sentence = (
        f"{len(everything):,} queries on {shown.split}: mean λ {statistics.fmean(everything):.2f}, "
        f"from {everything[0]:.2f} to {everything[-1]:.2f}."
    )
    if weights_found and weights_missed:
        sentence += (
            f" Mean {statistics.fmean(weights_found):.2f} where the target is in the top 10, "
            f"{statistics.fmean(weights_missed):.2f} elsewhere."
        )
    return sentence


def _sheet(sheet: Sheet, ladder: Ladder, small: Thumbnails, numbers: Mapping[str, int]) -> dict[str, Any]:
    """One sheet as the page shows it."""

    def tile(image: str, said: str, **more: Any) -> dict[str, Any]:
        return {
            "image": image,
            "number": numbers.get(image),
            "reason": small.reasons.get(image),
            "alt": said,
            "target": image == sheet.target,
            "reference": image == sheet.reference,
            **more,
        }

    strips: list[dict[str, Any]] = []
    for method, results in sheet.results.items():
        tiles = [
            tile(
                result.image,
                f"Rank {result.rank}{', the target' if result.image == sheet.target else ''}: {result.image}",
                rank=result.rank,
                score=f"{result.score:.3f}",
            )
            for result in results
        ]
        rank = sheet.ranks.get(method)
        if rank is not None and not any(each["target"] for each in tiles):
            tiles.append(
                tile(
                    sheet.target,
                    f"Rank {rank:,}, the target: {sheet.target}",
                    rank=rank,
                    score=None,
                    far=True,
                )
            )
        strips.append({"method": method, "label": method_label(method), "rank": rank, "tiles": tiles})
    return {
        "sheet": sheet,
        "reference": tile(sheet.reference, f"Reference: {sheet.reference}"),
        "target": tile(sheet.target, f"Target: {sheet.target}"),
        "strips": strips,
        "before": ", and ".join(
            "after stage 1" if METHODS[strip["method"]].models else "before training" for strip in strips[1:]
        ).capitalize(),
        "ranks": [(ladder.label(method), rank) for method, rank in sheet.ranks.items()],
        "plain_rank": None
        if ladder.served is ZERO_SHOT or ZERO_SHOT.name not in sheet.ranks
        else _ordinal(sheet.ranks[ZERO_SHOT.name]),
        "rank_text": _ordinal(sheet.target_rank),
    }


def _listed_queries(inputs: ReportInputs, shown: Ladder | None) -> dict[str, Any]:
    """Every query of the shown ladder, best first, with the target's rank by each method."""
    if shown is None:
        return {"methods": [], "shown": -1, "plain": -1, "rows": [], "total": 0}
    ordered = queries_in_order(inputs, _shown_evaluation(shown))
    weights = text_weights(ordered)
    ranks = []
    for evaluation_id in shown.evaluation_ids.values():
        own = inputs.rankings.filter(pl.col("evaluation_id") == evaluation_id)
        ranks.append(dict(own.select("query_id", "target_rank").iter_rows()))
    rows = []
    for query, category, caption in (
        ordered.head(LISTED_QUERIES).select("query_id", "category", "caption").iter_rows()
    ):
        weight = weights.get(query)
        listed_caption = caption if len(caption) <= LISTED_CAPTION else f"{caption[:LISTED_CAPTION]}…"
        rows.append(
            [
                query,
                category,
                listed_caption,
                None if weight is None else round(weight, 3),
                [each.get(query) for each in ranks],
            ]
        )
    return {
        "methods": [shown.label(method) for method in shown.methods],
        "shown": shown.methods.index(_served(shown).name),
        "plain": _compared(shown),
        "rows": rows,
        "total": ordered.height,
    }


def _every_image(inputs: ReportInputs, shown: Ladder) -> list[str]:
    """Every picture that an opened query shows: references, targets, and the first results of each method."""
    rankings = inputs.rankings.filter(evaluation_id=_shown_evaluation(shown))
    results = inputs.retrieved.filter(
        pl.col("evaluation_id").is_in(list(shown.evaluation_ids.values()))
        & (pl.col("rank") <= SHOWN_RETRIEVED)
    )
    named = pl.concat([rankings["reference"], rankings["target"], results["image"]])
    return named.unique(maintain_order=True).to_list()


def _opened_queries(
    inputs: ReportInputs, shown: Ladder | None, beside: Mapping[str, str]
) -> dict[str, Any] | None:
    """What an opened query shows, in the order of the list; pictures as numbers into a list of files."""
    if shown is None or not beside:
        return None
    ordered = queries_in_order(inputs, _shown_evaluation(shown)).head(LISTED_QUERIES)
    numbers = pl.DataFrame(
        {"image": list(beside), "number": range(len(beside))}, schema_overrides={"image": pl.String}
    )
    place = ordered.select("query_id").with_row_index("place")

    def numbered(column: str) -> list[int]:
        images = ordered.select(pl.col(column).alias("image"))
        picture_numbers = images.join(numbers, on="image", how="left", maintain_order="left")["number"]
        return picture_numbers.fill_null(-1).to_list()

    strips = []
    for evaluation_id in shown.evaluation_ids.values():
        rows = (
            inputs.retrieved.filter(
                (pl.col("evaluation_id") == evaluation_id) & (pl.col("rank") <= SHOWN_RETRIEVED)
            )
            .join(place, on="query_id")
            .join(numbers, on="image", how="left", maintain_order="left")
            .sort("place", "rank")
            .group_by("place", maintain_order=True)
            .agg(pl.col("number").fill_null(-1))
        )
        picture_numbers = dict(rows.iter_rows())
        strips.append([picture_numbers.get(number, []) for number in range(ordered.height)])
    return {
        "folder": PICTURES,
        "files": list(beside.values()),
        "names": list(beside),
        "sides": [
            max(0, _compared(shown)),
            shown.methods.index(_served(shown).name),
        ],
        "references": numbered("reference"),
        "targets": numbered("target"),
        "strips": strips,
    }


def _newest(evaluations: pl.DataFrame) -> datetime | str | None:
    newest: Any = evaluations["created_at"].max()
    return newest if newest is None or isinstance(newest, datetime) else str(newest)


def _moment(moment: datetime | str | None) -> str:
    """A time for people, in the zone it was given in."""
    if moment is None:
        return "never"
    return f"{moment:%d %B %Y, %H:%M} {moment.tzname() or 'UTC'}" if isinstance(moment, datetime) else moment


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _ordinal(rank: int) -> str:
    ending = "th" if 10 <= rank % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank:,}{ending}"


def json_in_script(value: Any) -> str:
    """JSON that may stand within a script: nothing in it can close the script or open a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def page_part(name: str) -> str:
    """A part of the page that lies beside this module."""
    return (files("cir_assets.reporting") / "page" / name).read_text(encoding="utf-8")
