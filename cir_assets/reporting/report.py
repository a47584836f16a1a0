"""The report of one pipeline: one self-contained page with tables, charts and retrieval sheets in pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

import polars as pl
from plotly.offline import get_plotlyjs

from cir_assets.reporting.charts import (
    DARK_OF,
    STAGES,
    Chart,
    best_epoch,
    category_chart,
    ladder_chart,
    lambda_chart,
    recall_chart,
    recall_curves,
    training_chart,
)
from cir_assets.reporting.inputs import ReportInputs
from cir_assets.reporting.ladder import METHODS, Ladder, ladders, method_label, metric_label
from cir_assets.reporting.pictures import Thumbnails, thumbnails, write_beside
from cir_assets.reporting.sheets import (
    SHOWN_METHOD,
    Result,
    Sheet,
    choose_sheets,
    queries_in_order,
    text_weights,
)

FOUND_WITHIN = 10
"""A query counts as found where its target is among this many."""

BANDS = {
    "best": ("Best queries", "The target came first, by the widest margin."),
    "median": ("Median queries", "Half of all queries rank their target better, half worse."),
    "worst": ("Worst queries", "The target came last of all: what the method does not understand yet."),
}
PAGE = Path(__file__).with_name("page")


def write_report(inputs: ReportInputs, folder: Path) -> Path:
    """Write ``folder/index.html``, whole or not at all, and return its path.

    The page asks nothing of the net: script, style and thumbnails stand in it. Equal inputs give equal bytes.

    Args:
        inputs: the pipeline's result tables and a way to its pictures.
        folder: ``storage/reports/<dataset>/<backbone>/<recipe>``.

    Raises:
        OSError: the page cannot be written; one that was there stays.
    """
    every = ladders(inputs.own_evaluations, inputs.metrics)
    shown = _shown_ladder(inputs, every)
    charts: dict[str, Chart] = {}
    sections = [_ladder_sections(every, charts)]
    sections.append(_training_section(inputs, charts))
    sheets: list[Sheet] = []
    if shown is not None:
        sections.append(_query_section(inputs, shown, charts))
        sheets = choose_sheets(inputs, shown)
    pictures = thumbnails(
        [image for sheet in sheets for image in _sheet_images(sheet, inputs.top)],
        inputs.picture_path,
        budget=inputs.picture_budget,
        pixel_limit=inputs.pixel_limit,
    )
    numbers = {image: number for number, image in enumerate(pictures.uris)}
    sections.append(_sheets_section(inputs, shown, sheets, pictures, numbers))
    return write_beside(
        folder / "index.html", _page(inputs, every, sections, charts, pictures, numbers).encode()
    )


def _shown_ladder(inputs: ReportInputs, every: Sequence[Ladder]) -> Ladder | None:
    """The ladder whose queries are shown in pictures; None where the Combiner was not evaluated so."""
    fitting = [
        ladder
        for ladder in every
        if ladder.split == inputs.sheet_split
        and inputs.sheet_protocol in (None, ladder.protocol)
        and SHOWN_METHOD in ladder.evaluation_ids
        and ladder.queries > 0
    ]
    return fitting[0] if fitting else None


def _ladder_sections(every: Sequence[Ladder], charts: dict[str, Chart]) -> str:
    if not every:
        return '<section><h2>The ladder</h2><p class="empty">There is no evaluation yet.</p></section>'
    parts = ['<section id="ladder"><h2>The ladder</h2>']
    parts.append(
        '<p class="lead">Six ways to make a query of a picture and a sentence, from the plainest to the whole '
        "method. Percent, with 95 % bootstrap intervals over queries.</p>"
    )
    for number, ladder in enumerate(every):
        title = f"{ladder.split}, protocol {ladder.protocol}"
        parts.append(f"<h3>{escape(title)}</h3>")
        if not ladder.queries:
            parts.append('<p class="empty">This evaluation has no queries, so there is nothing to show.</p>')
            continue
        parts.append(
            f'<p class="facts">{ladder.queries:,} queries, {ladder.gallery_size:,} pictures searched</p>'
        )
        parts.append(_ladder_table(ladder, title))
        parts.append(_chart(charts, f"ladder-{number}", ladder_chart(ladder), f"The ladder on {title}"))
        if len(ladder.categories) > 1:
            metric = ladder.main_metrics[0]
            parts.append(
                _chart(
                    charts,
                    f"categories-{number}",
                    category_chart(ladder, metric),
                    f"{metric_label(metric)} by category on {title}",
                )
            )
    return "".join([*parts, "</section>"])


def _ladder_table(ladder: Ladder, title: str) -> str:
    head = "".join(f'<th scope="col">{escape(metric_label(metric))}</th>' for metric in ladder.metrics)
    rows = []
    for method in ladder.methods:
        explained = METHODS[method].explanation if method in METHODS else ""
        cells = []
        for metric in ladder.metrics:
            figure = ladder.figure(method, metric)
            best = figure.value is not None and figure.value == ladder.best(metric)
            interval = f"<small>{figure.low:.1f} to {figure.high:.1f}</small>" if figure.has_interval else ""
            value = "none" if figure.value is None else f"{figure.value:.1f}"
            cells.append(f"<td{' class=best' if best else ''}>{value}{interval}</td>")
        label = escape(method_label(method))
        rows.append(
            f'<tr><th scope="row">{label}<small>{escape(explained)}</small></th>{"".join(cells)}</tr>'
        )
    return (
        f'<div class="wide"><table><caption class="unseen">{escape(title)}</caption>'
        f'<thead><tr><th scope="col">Method</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _training_section(inputs: ReportInputs, charts: dict[str, Chart]) -> str:
    epochs = inputs.own_epochs
    parts = ['<section id="training"><h2>Training</h2>']
    for stage, name in STAGES.items():
        mine = epochs.filter(pl.col("stage") == stage)
        if mine.is_empty():
            continue
        kept = best_epoch(mine)
        said = f"Loss and headline on val over {mine.height} epochs; epoch {kept} was kept."
        parts.append(f'<h3>{escape(name)}</h3><p class="facts">{escape(said)}</p>')
        parts.append(_chart(charts, f"training-{stage}", training_chart(stage, mine), f"{name}: {said}"))
    if len(parts) == 1:
        parts.append('<p class="empty">No training curve was kept.</p>')
    return "".join([*parts, "</section>"])


def _query_section(inputs: ReportInputs, shown: Ladder, charts: dict[str, Chart]) -> str:
    parts = ['<section id="queries"><h2>Over all queries</h2><h3>Recall at k</h3>']
    curves = recall_curves(shown, inputs.rankings)
    parts.append(
        _chart(charts, "recall", recall_chart(curves), "Recall at k of every method, k from 1 to 50")
    )
    ordered = queries_in_order(inputs, shown.evaluation_ids[SHOWN_METHOD])
    weights = text_weights(inputs, ordered)
    ranks = dict(ordered.select("query_id", "target_rank").iter_rows())
    found = [
        weight for query, weight in weights.items() if ranks.get(query, FOUND_WITHIN + 1) <= FOUND_WITHIN
    ]
    missed = [weight for query, weight in weights.items() if ranks.get(query, 0) > FOUND_WITHIN]
    if found or missed:
        parts.append(
            "<h3>Lambda</h3><p class='facts'>How much the Combiner leans on the sentence (1) against the picture "
            "(0), query by query.</p>"
        )
        parts.append(_chart(charts, "lambda", lambda_chart(found, missed), "Distribution of lambda"))
    return "".join([*parts, "</section>"])


def _sheets_section(
    inputs: ReportInputs,
    shown: Ladder | None,
    sheets: Sequence[Sheet],
    pictures: Thumbnails,
    numbers: dict[str, int],
) -> str:
    parts = ['<section id="sheets"><h2>Queries in pictures</h2>']
    if shown is None or not sheets:
        said = f"The Combiner was not evaluated on {inputs.sheet_split}, or had no queries there."
        return "".join([*parts, f'<p class="empty">{escape(said)}</p></section>'])
    parts.append(
        f'<p class="lead">The Combiner on {escape(shown.split)}: reference, what should differ, and the '
        f"{inputs.top} best pictures. The picture meant is framed.</p>"
    )
    for band, (title, explained) in BANDS.items():
        mine = [sheet for sheet in sheets if sheet.band == band]
        if mine:
            parts.append(f'<h3>{escape(title)}</h3><p class="facts">{escape(explained)}</p>')
            parts += [_sheet(sheet, inputs.top, pictures, numbers) for sheet in mine]
    return "".join([*parts, "</section>"])


def _sheet(sheet: Sheet, top: int, pictures: Thumbnails, numbers: dict[str, int]) -> str:
    results: Sequence[Result] = sheet.results[SHOWN_METHOD][:top]
    tiles = "".join(
        _tile(
            result.image,
            f"{result.rank}",
            f"rank {result.rank}, score {result.score:.3f}"
            + (", the target" if result.image == sheet.target else ""),
            pictures,
            numbers,
            "target" if result.image == sheet.target else "",
        )
        for result in results
    )
    outside = ""
    if all(result.image != sheet.target for result in results):
        outside = _tile(
            sheet.target, f"rank {sheet.target_rank:,}", "the target", pictures, numbers, "target apart"
        )
    others = ", ".join(f"{escape(method_label(method))} {rank:,}" for method, rank in sheet.ranks.items())
    weight = "" if sheet.text_weight is None else f" · lambda {sheet.text_weight:.2f}"
    reference = _tile(sheet.reference, "reference", "the reference", pictures, numbers, "reference")
    return (
        f'<article class="sheet"><header><blockquote>{escape(sheet.caption)}</blockquote>'
        f'<p class="facts">{escape(sheet.category)} · query {escape(sheet.query_id)} · target at rank '
        f"{sheet.target_rank:,}{weight}</p></header>"
        f'<div class="tiles">{reference}<span class="arrow" aria-hidden="true">→</span>{tiles}{outside}</div>'
        f'<p class="facts">Rank of the target by method: {others}</p></article>'
    )


def _tile(image: str, label: str, said: str, pictures: Thumbnails, numbers: dict[str, int], kind: str) -> str:
    name = escape(f"{image}: {said}", quote=True)
    if image in numbers:
        face = f'<div class="face i{numbers[image]}" role="img" aria-label="{name}" title="{name}"></div>'
    else:
        reason = escape(pictures.reasons.get(image, "not shown"))
        face = f'<div class="face none" role="img" aria-label="{name}">{reason}</div>'
    return f'<figure class="tile {kind}">{face}<figcaption>{escape(label)}</figcaption></figure>'


def _sheet_images(sheet: Sheet, top: int) -> list[str]:
    return [sheet.reference, sheet.target, *(result.image for result in sheet.results[SHOWN_METHOD][:top])]


def _chart(charts: dict[str, Chart], name: str, chart: Chart, said: str) -> str:
    charts[name] = chart
    height = int(chart.get("layout", {}).get("height") or 320)
    label = escape(said, quote=True)
    return f'<div class="chart" id="{name}" role="img" aria-label="{label}" style="height:{height}px"></div>'


def _page(
    inputs: ReportInputs,
    every: Sequence[Ladder],
    sections: Sequence[str],
    charts: dict[str, Chart],
    pictures: Thumbnails,
    numbers: dict[str, int],
) -> str:
    title = f"{inputs.dataset} · {inputs.backbone} · {inputs.recipe}"
    made = inputs.made_at or max(inputs.own_evaluations["created_at"].to_list(), default=None)
    facts = {"evaluated": f"{made:%Y-%m-%d %H:%M} UTC" if made is not None else "never"}
    for ladder in every:
        facts.setdefault(f"queries on {ladder.split}", f"{ladder.queries:,}")
    if inputs.galleries is not None:
        sizes = inputs.galleries.group_by("split", "category", maintain_order=True).len()
        facts |= {
            f"{split} {category}": f"{count:,} pictures" for split, category, count in sizes.iter_rows()
        }
    facts |= dict(inputs.versions)
    listed = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>" for name, value in facts.items()
    )
    faces = "".join(
        f".i{numbers[image]}{{background-image:url({uri})}}" for image, uri in pictures.uris.items()
    )
    # "</" would end the script it stands in.
    data = json.dumps({"charts": charts, "dark": dict(DARK_OF)}).replace("</", "<\\/")
    links = "".join(
        f'<a href="#{place}">{name}</a>'
        for place, name in (
            ("ladder", "Ladder"),
            ("training", "Training"),
            ("queries", "Queries"),
            ("sheets", "Pictures"),
        )
    )
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><link rel=icon href='data:,'>"
        f"<style>{(PAGE / 'report.css').read_text(encoding='utf-8')}{faces}</style></head><body>"
        f'<header class="top"><p class="kind">Composed image retrieval</p><h1>{escape(title)}</h1>'
        f'<dl class="about">{listed}</dl><nav aria-label="Sections">{links}'
        "<button type=button id=theme aria-pressed=false>Dark</button></nav></header>"
        f"<main>{''.join(sections)}</main>"
        f"<script>{get_plotlyjs()}</script>"
        f'<script type="application/json" id="data">{data}</script>'
        f"<script>{(PAGE / 'report.js').read_text(encoding='utf-8')}</script></body></html>"
    )
