"""Charts of the report as plotly figures in the light theme's colours; the page swaps them for dark ones."""

from __future__ import annotations

import html
import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from cir_assets.reporting.curves import best_epoch
from cir_assets.reporting.ladder import CHANCE, HEADLINE, Figure, Ladder, metric_label
from cir_assets.reporting.one_modality import OneModality
from cir_assets.reporting.tables import OURS, ComparisonTable
from cir_assets.retrieval.methods import (
    FROZEN_CLIP_COMBINER,
    IMAGE_ONLY,
    LADDER,
    MERGED,
    SPHERICAL,
    TEXT_ONLY,
    TUNED_SUM,
    WEIGHTED_SUM,
    WHOLE_METHOD,
    ZERO_SHOT,
    Method,
)
from cir_assets.retrieval.protocols import MetricKey

Chart = dict[str, Any]
"""A figure as plotly.js takes it: data and layout."""

RECALL_DEPTH = 50

INK, MUTED, GRID, PAPER = "#23262b", "#5c636d", "#e3e1da", "#ffffff"
DARK_OF: Mapping[str, str] = {
    INK: "#e9e7e2",
    MUTED: "#a4a9b2",
    GRID: "#34373e",
    PAPER: "#1b1d22",
    "#7b818a": "#9aa0aa",
    "#a16207": "#d9b36a",
    "#3b6fb0": "#7fb0ee",
    "#7c4dab": "#c09df0",
    "#c2570c": "#f59e5b",
    "#0f766e": "#3fd0bf",
    "#0e7490": "#5cc8e0",
    "#9d174d": "#f08cb8",
    "#3f6212": "#a3cf5f",
}
"""Light colour -> its counterpart on a dark ground. Every colour of a chart stands here."""

METHOD_LOOKS: Mapping[str, tuple[str, str, str]] = {
    IMAGE_ONLY.name: ("#7b818a", "dot", "circle"),
    TEXT_ONLY.name: ("#a16207", "dot", "square"),
    ZERO_SHOT.name: ("#3b6fb0", "dash", "diamond"),
    WEIGHTED_SUM.name: ("#0e7490", "dashdot", "diamond-open"),
    SPHERICAL.name: ("#9d174d", "dashdot", "square-open"),
    TUNED_SUM.name: ("#7c4dab", "dash", "triangle-up"),
    FROZEN_CLIP_COMBINER.name: ("#c2570c", "longdash", "cross"),
    WHOLE_METHOD.name: ("#0f766e", "solid", "circle"),
    MERGED.name: ("#3f6212", "longdashdot", "star"),
}
"""Method -> colour, dash and marker: told apart without seeing colours too."""

PUBLISHED_LOOKS: Mapping[str, tuple[str, str]] = {
    "zero-shot": ("#a16207", "square"),
    "supervised": ("#3b6fb0", "diamond"),
    OURS: ("#0f766e", "star"),
}
"""Whose figure -> colour and marker."""

_HATCHINGS = {"square": ".", "diamond": "/", "triangle-up": "\\", "cross": "x"}
_METRIC_LOOKS = (("#3b6fb0", "diamond"), ("#a16207", "square"), ("#7c4dab", "triangle-up"))


def method_look(method: str) -> tuple[str, str, str]:
    """Colour, dash and marker of a method."""
    return METHOD_LOOKS.get(method, (MUTED, "solid", "x"))


def stage_colour(stage: str) -> str:
    """The colour of a training: that of the first method it completes."""
    completed = (method.name for method in LADDER if method.models[-1:] == (stage,))
    return method_look(next(completed, ""))[0]


def ladder_chart(ladder: Ladder) -> Chart:
    """The headline and its parts of each method with 95 % intervals, one line of points a method."""
    metrics = [metric for metric in ladder.main_metrics if metric != HEADLINE]
    looks = dict(zip(metrics, _METRIC_LOOKS, strict=False)) | {HEADLINE: ("#0f766e", "circle")}
    shown_metrics = [metric for metric in (*metrics, HEADLINE) if metric in ladder.metrics]
    # A metric has a lane of its own within a method's line, so that intervals do not cover each other.
    lanes = {metric: (len(shown_metrics) - 1) / 2 - place for place, metric in enumerate(shown_metrics)}
    figure = go.Figure()
    shown = [*ladder.methods, *([CHANCE] if ladder.chance(HEADLINE) is not None else [])]
    labels = {**{method: ladder.label(method) for method in ladder.methods}, CHANCE: CHANCE}
    lines = len(shown)
    for metric in shown_metrics:
        colour, symbol = looks[metric]
        points = [
            (lines - 1 - line + 0.2 * lanes[metric], method, figure_)
            for line, method in enumerate(shown)
            if (figure_ := _figure_or_chance(ladder, method, metric)).value is not None
        ]
        figure.add_trace(
            go.Scatter(
                x=[point.value for _, _, point in points],
                y=[height for height, _, _ in points],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [_above(point.value, point.high) for _, _, point in points],
                    "arrayminus": [_above(point.low, point.value) for _, _, point in points],
                    "color": colour,
                    "thickness": 2.2,
                    "width": 5,
                },
                mode="markers",
                name=metric_label(metric),
                marker={"color": colour, "symbol": symbol, "size": 10 if metric == HEADLINE else 8},
                customdata=[[html.escape(labels[method]), point.text()] for _, method, point in points],
                hovertemplate="%{customdata[0]}: <b>%{customdata[1]}</b><extra>%{fullData.name}</extra>",
            )
        )
    _lay_out(figure, height=90 + 58 * max(lines, 1))
    figure.update_xaxes(range=[-0.5, 101.5], tick0=0, ticksuffix=" %", dtick=20)
    figure.update_yaxes(
        tickvals=[lines - 1 - line for line in range(lines)],
        ticktext=[html.escape(labels[method]) for method in shown],
        range=[-0.6, max(lines, 1) - 0.4],
        showgrid=False,
        zeroline=False,
    )
    return _plain(figure)


def _figure_or_chance(ladder: Ladder, method: str, metric: MetricKey) -> Figure:
    """A method's figure, or the bare one of a ranking drawn at random."""
    return Figure(ladder.chance(metric), None, None) if method == CHANCE else ladder.figure(method, metric)


def recall_curves(ladder: Ladder, rankings: pl.DataFrame) -> dict[str, list[float]]:
    """Recall at k = 1 … 50 in percent of each method, as the plain mean over categories.

    Args:
        ladder: whose evaluations to take.
        rankings: evaluation_id, category, target_rank (from 1).

    Returns:
        method -> 50 values; methods without rankings are left out.
    """
    curves = {}
    steps = list(range(1, RECALL_DEPTH + 1))
    for method, evaluation_id in ladder.evaluation_ids.items():
        shares = (
            rankings.filter(pl.col("evaluation_id") == evaluation_id)
            .group_by("category")
            .agg(*((pl.col("target_rank") <= k).mean().alias(str(k)) for k in steps))
            .drop("category")
        )
        if shares.height:
            curves[method] = [100.0 * float(shares[str(k)].mean()) for k in steps]  # type: ignore[arg-type]
    return curves


def chance_curve(ladder: Ladder) -> list[float]:
    """Recall at k = 1 … 50 of a ranking drawn at random, in percent; empty where chance was not taken.

    It grows with k in proportion until it is certain, so that of any k tells it for all.
    """
    curves = []
    for category in ladder.categories:
        known = (
            (k, chance)
            for name, k in ladder.metrics
            if name == "recall" and (chance := ladder.chance((name, k), category)) is not None
        )
        k, chance = min(known, default=(0, 0.0))
        if not k:
            return []
        curves.append([min(100.0, chance / k * depth) for depth in range(1, RECALL_DEPTH + 1)])
    return [statistics.fmean(values) for values in zip(*curves, strict=True)]


def recall_chart(
    ladder: Ladder, curves: Mapping[str, Sequence[float]], served_method: Method | None = None
) -> Chart:
    """Recall at k of every method; k on a logarithmic axis, as the first places matter most."""
    figure = go.Figure()
    for method, values in curves.items():
        colour, dash, symbol = method_look(method)
        marked = {1, 2, 5, 10, 20, 50}
        figure.add_trace(
            go.Scatter(
                x=list(range(1, len(values) + 1)),
                y=list(values),
                mode="lines+markers",
                name=html.escape(ladder.label(method)),
                line={
                    "color": colour,
                    "dash": dash,
                    "width": 3 if served_method and method == served_method.name else 2,
                },
                marker={
                    "symbol": symbol,
                    "color": colour,
                    "size": [7 if k in marked else 0 for k in range(1, len(values) + 1)],
                    "line": {"width": 0},
                },
                hovertemplate="%{y:.1f} %<extra>%{fullData.name}</extra>",
            )
        )
    if drawn := chance_curve(ladder):
        figure.add_trace(
            go.Scatter(
                x=list(range(1, len(drawn) + 1)),
                y=drawn,
                mode="lines",
                name=CHANCE,
                line={"color": MUTED, "dash": "dot", "width": 1.5},
                hovertemplate="%{y:.1f} %<extra>%{fullData.name}</extra>",
            )
        )
    _lay_out(figure, height=420)
    ticks = [1, 2, 5, 10, 20, 50]
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=list(map(str, ticks)), title="k", range=[0, 1.7])
    figure.update_yaxes(range=[0, 101.5], ticksuffix=" %", title="recall at k")
    figure.update_layout(hovermode="x unified")
    return _plain(figure)


def category_chart(ladder: Ladder, metric: tuple[str, int]) -> Chart:
    """One metric of every method by category, with 95 % intervals."""
    figure = go.Figure()
    for method in ladder.methods:
        colour, _, symbol = method_look(method)
        points = [
            (category, point)
            for category in ladder.categories
            if (point := ladder.figure(method, metric, category)).value is not None
        ]
        figure.add_trace(
            go.Bar(
                x=[html.escape(category) for category, _ in points],
                y=[point.value for _, point in points],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [_above(point.value, point.high) for _, point in points],
                    "arrayminus": [_above(point.low, point.value) for _, point in points],
                    "color": INK,
                    "thickness": 1.2,
                    "width": 3,
                },
                name=html.escape(ladder.label(method)),
                marker={"color": colour, "pattern": _hatching(_HATCHINGS.get(symbol, ""))},
                customdata=[[point.text()] for _, point in points],
                hovertemplate="%{x}: <b>%{customdata[0]}</b><extra>%{fullData.name}</extra>",
            )
        )
    drawn = [(category, ladder.chance(metric, category)) for category in ladder.categories]
    if any(chance is not None for _, chance in drawn):
        figure.add_trace(
            go.Scatter(
                x=[html.escape(category) for category, _ in drawn],
                y=[chance for _, chance in drawn],
                mode="markers",
                name=CHANCE,
                marker={"symbol": "line-ew", "size": 60, "color": INK, "line": {"width": 2, "color": INK}},
                hovertemplate="%{x}: <b>%{y:.1f} %</b><extra>%{fullData.name}</extra>",
            )
        )
    _lay_out(figure, height=380)
    figure.update_yaxes(range=[0, 101.5], ticksuffix=" %", title=metric_label(metric))
    figure.update_xaxes(showgrid=False)
    figure.update_layout(barmode="group", bargap=0.25, bargroupgap=0.08)
    return _plain(figure)


def one_modality_chart(found: Sequence[OneModality]) -> Chart:
    """For each k, the queries that both modalities find alone, the picture alone, the text alone, and neither."""
    figure = go.Figure()
    parts = (
        ("picture or text, either alone", IMAGE_ONLY.name, "", [each.both for each in found]),
        ("the picture alone", IMAGE_ONLY.name, "/", [each.image_only - each.both for each in found]),
        ("the text alone", TEXT_ONLY.name, ".", [each.text_only - each.both for each in found]),
        ("needs both", WHOLE_METHOD.name, "", [each.neither for each in found]),
    )
    for name, method, shape, shares in parts:
        figure.add_trace(
            go.Bar(
                x=shares,
                y=[f"k = {each.k}" for each in found],
                orientation="h",
                name=name,
                marker={"color": method_look(method)[0], "pattern": _hatching(shape)},
                hovertemplate="%{y}: <b>%{x:.1f} %</b> of queries<extra>%{fullData.name}</extra>",
            )
        )
    _lay_out(figure, height=110 + 46 * len(found))
    figure.update_layout(barmode="stack", bargap=0.3, legend={"traceorder": "normal"})
    figure.update_xaxes(range=[0, 100], ticksuffix=" %")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return _plain(figure)


def published_chart(table: ComparisonTable, metrics: Sequence[MetricKey]) -> Chart | None:
    """Ours, with 95 % intervals, among what others published under the same protocol, a line a system, by backbone.

    Args:
        table: both.
        metrics: to draw beside each other, those of the headline.

    Returns:
        None where there is none of ours, or none of others'.
    """
    shown = [metric for metric in metrics if metric in table.metrics]
    rows = [row for row in table.rows if any(metric in row.figures for metric in shown)][::-1]
    if len({row.ours for row in rows}) < 2:
        return None
    figure = make_subplots(rows=1, cols=len(shown), shared_yaxes=True, horizontal_spacing=0.04)
    for column, metric in enumerate(shown, start=1):
        for supervision, (colour, symbol) in PUBLISHED_LOOKS.items():
            points = [
                (place, row, row.figures[metric])
                for place, row in enumerate(rows)
                if row.supervision == supervision and metric in row.figures
            ]
            if not points:
                continue
            figure.add_trace(
                go.Scatter(
                    x=[value for _, _, value in points],
                    y=[place for place, _, _ in points],
                    error_x={
                        "type": "data",
                        "symmetric": False,
                        "array": [_above(value, row.high.get(metric)) for _, row, value in points],
                        "arrayminus": [_above(row.low.get(metric), value) for _, row, value in points],
                        "color": colour,
                        "thickness": 2.2,
                        "width": 5,
                    },
                    mode="markers",
                    name=supervision,
                    legendgroup=supervision,
                    showlegend=column == 1,
                    marker={"color": colour, "symbol": symbol, "size": 11 if supervision == OURS else 8},
                    customdata=[
                        [html.escape(f"{row.system}, {row.backbone}, {row.venue}")] for _, row, _ in points
                    ],
                    hovertemplate="%{customdata[0]}: <b>%{x:.2f} %</b><extra></extra>",
                ),
                row=1,
                col=column,
            )
        figure.update_xaxes(title=metric_label(metric), ticksuffix=" %", row=1, col=column)
    _lay_out(figure, height=110 + 22 * len(rows))
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[html.escape(f"{row.system} · {row.backbone}") for row in rows],
        range=[-0.7, len(rows) - 0.3],
        zeroline=False,
    )
    return _plain(figure)


def training_chart(stage: str, epochs: pl.DataFrame) -> Chart:
    """Loss above, headline on val below, over epochs; the epoch whose weights were kept is marked.

    Args:
        stage: one of the models that are trained.
        epochs: one stage's rows of ``training_epochs``, in order, at least one.
    """
    colour = stage_colour(stage)
    steps, losses = epochs["epoch"].to_list(), epochs["loss"].to_list()
    scores = epochs["selection_metric"].to_list()
    best = best_epoch(epochs)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.09)
    mode = "lines+markers" if len(steps) < 2 else "lines"
    for row, values, form in ((1, losses, "%{y:.4f}"), (2, scores, "%{y:.2f} %")):
        figure.add_trace(
            go.Scatter(
                x=steps,
                y=values,
                mode=mode,
                line={"color": colour, "width": 2.2, "dash": "solid" if row == 2 else "dot"},
                name="loss" if row == 1 else "headline on val",
                hovertemplate=f"epoch %{{x}}: <b>{form}</b><extra></extra>",
            ),
            row=row,
            col=1,
        )
    if best is not None:
        figure.add_trace(
            go.Scatter(
                x=[best],
                y=[scores[steps.index(best)]],
                mode="markers",
                marker={
                    "symbol": "star",
                    "size": 13,
                    "color": colour,
                    "line": {"color": PAPER, "width": 1.5},
                },
                name="kept",
                hovertemplate="kept: epoch %{x}, <b>%{y:.2f} %</b><extra></extra>",
            ),
            row=2,
            col=1,
        )
    _lay_out(figure, height=360)
    figure.update_layout(showlegend=False, margin={"l": 56, "r": 14, "t": 10, "b": 44})
    figure.update_yaxes(title="loss", row=1, col=1)
    figure.update_yaxes(title="headline, %", row=2, col=1)
    figure.update_xaxes(title="epoch", row=2, col=1)
    return _plain(figure)


def lambda_chart(found: Sequence[float], missed: Sequence[float]) -> Chart:
    """How many queries have which lambda, those whose target is in the top 10 apart from the others.

    Args:
        found: lambdas of queries whose target is among the first 10.
        missed: of the others.
    """
    figure = go.Figure()
    for name, values, colour, shape in (
        ("target in the top 10", found, "#0f766e", ""),
        ("target further down", missed, "#c2570c", "/"),
    ):
        counts = [0] * 40
        for value in values:
            counts[min(39, max(0, int(value * 40)))] += 1
        figure.add_trace(
            go.Bar(
                x=[(place + 0.5) / 40 for place in range(40)],
                y=counts,
                width=0.025,
                name=name,
                marker={
                    "color": colour,
                    "line": {"color": PAPER, "width": 1},
                    "pattern": _hatching(shape),
                },
                customdata=[f"{place / 40:.3f} to {(place + 1) / 40:.3f}" for place in range(40)],
                hovertemplate="λ %{customdata}: <b>%{y:,}</b> queries<extra>%{fullData.name}</extra>",
            )
        )
    everything = [*found, *missed]
    _lay_out(figure, height=380)
    if everything:
        mean = statistics.fmean(everything)
        figure.add_vline(x=mean, line={"color": INK, "dash": "dot", "width": 1.5})
        figure.add_annotation(
            x=mean,
            y=1.0,
            yref="paper",
            yanchor="top",
            text=f"mean {mean:.2f}",
            showarrow=False,
            xanchor="left" if mean < 0.8 else "right",
            bgcolor=PAPER,
        )
    figure.update_layout(barmode="stack", bargap=0, legend={"traceorder": "normal"})
    figure.update_xaxes(range=[0, 1], title="λ   (0: the picture's feature, 1: the text's)", showgrid=False)
    figure.update_yaxes(title="queries")
    return _plain(figure)


def _lay_out(figure: go.Figure, height: int) -> None:
    """Give a figure the page's look: no ground of its own, quiet lines, legend above."""
    figure.update_layout(
        template=go.layout.Template(),
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": INK},
        margin={"l": 8, "r": 14, "t": 10, "b": 40},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "xanchor": "left"},
        hoverlabel={"bgcolor": PAPER, "bordercolor": GRID, "font": {"color": INK}},
        dragmode=False,
    )
    axes = {"gridcolor": GRID, "linecolor": GRID, "zerolinecolor": GRID, "automargin": True}
    title = {"standoff": 8, "font": {"size": 12, "color": MUTED}}
    figure.update_xaxes(**axes, title=title)
    figure.update_yaxes(**axes, title=title)


def _plain(figure: go.Figure) -> Chart:
    """The figure as plain values."""
    chart: Chart = json.loads(figure.to_json())
    return chart


def _above(low: float | None, high: float | None) -> float:
    """Length of one arm of an interval; 0 where an end is unknown."""
    return 0.0 if low is None or high is None else max(0.0, high - low)


def _hatching(shape: str) -> dict[str, Any]:
    """Fine lines over a bar's colour, so that bars are told apart without seeing colours too."""
    return {"shape": shape, "fillmode": "overlay", "fgcolor": PAPER, "size": 7, "solidity": 0.14}
