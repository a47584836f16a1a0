"""The ladder of methods as rows: for the report, for Markdown in a UI, for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl
from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cir_assets.retrieval.chance import learnt_something
from cir_assets.retrieval.methods import METHODS, Method, served
from cir_assets.retrieval.metrics import MEAN_CATEGORY
from cir_assets.retrieval.protocols import PROTOCOLS, MetricKey

HEADLINE = ("headline", 0)

CHANCE = "Chance"
"""What stands beside methods in tables and charts: a ranking drawn at random."""

CERTAIN = 100 - 1e-6
"""Percent from which on a random ranking finds every target: k is no less than the gallery."""

_SYMBOLS = {"recall": "R", "subset_recall": "Rs", "mean_average_precision": "mAP"}
_METRIC_ORDER = {"mean_average_precision": 0, "recall": 1, "subset_recall": 2, "headline": 3}
_SPLIT_ORDER = {"val": 0, "test": 1}


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval and what a random ranking gets, in percent; None where it is not known."""

    value: float | None
    low: float | None
    high: float | None
    chance: float | None = None

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return self.low is not None and self.high is not None

    @property
    def doubt(self) -> str | None:
        """Why the figure says nothing, in words; None where it says something, or chance is not known."""
        if self.value is None or self.chance is None:
            return None
        if self.chance >= CERTAIN:
            return "k \N{GREATER-THAN OR EQUAL TO} gallery: says nothing"
        if self.low is not None and self.low <= self.chance:
            return "not above chance"
        return None

    def text(self) -> str:
        """``95.4 (94.1–96.6)``; a dash where there is no figure."""
        if self.value is None:
            return "–"
        if not self.has_interval:
            return f"{self.value:.1f}"
        return f"{self.value:.1f} ({self.low:.1f}–{self.high:.1f})"


NO_FIGURE = Figure(None, None, None)


@dataclass(frozen=True)
class Ladder:
    """Every method of one pipeline on one split under one protocol, each by its newest evaluation.

    Attributes:
        split: "val" or "test".
        protocol: as in the table of evaluations.
        queries: the most any method ranked.
        gallery_size: pictures ranked, all categories together.
        evaluation_ids: method -> evaluation, in the ladder's order.
        metrics: what the protocol measures, the headline last.
        categories: names in order, without the mean.
        figures: (method, category or "mean", metric) -> figure.
        labels: method -> what people read, of rankings brought from elsewhere.
        gallery_sizes: category -> pictures a query is ranked among; empty where that was not kept.
    """

    split: str
    protocol: str
    queries: int
    gallery_size: int
    evaluation_ids: Mapping[str, str]
    metrics: tuple[MetricKey, ...]
    categories: tuple[str, ...]
    figures: Mapping[tuple[str, str, MetricKey], Figure]
    labels: Mapping[str, str] = field(default_factory=dict)
    gallery_sizes: Mapping[str, int] = field(default_factory=dict)
    chosen: tuple[str, str] | None = None
    """The method that val chose to be served, and why; None where nothing says so."""

    def label(self, method: str) -> str:
        """What people read for a method."""
        return self.labels.get(method) or method_label(method)

    def chance(self, metric: MetricKey, category: str = MEAN_CATEGORY) -> float | None:
        """What a ranking drawn at random gets, in percent; None where it was not taken."""
        known = (self.figure(method, metric, category).chance for method in self.methods)
        return next((chance for chance in known if chance is not None), None)

    @property
    def nothing_learnt(self) -> str | None:
        """That no method's headline is above chance, and what to try, in words; None where one is."""
        chance = self.chance(HEADLINE)
        if chance is None or learnt_something([self.figure(m, HEADLINE).low for m in self.methods], chance):
            return None
        return (
            f"No method's interval lies above chance, which is {chance:.1f} % here: nothing shows that anything was "
            f"learnt. Try more queries and larger galleries on {self.split} (there are {self.queries:,} queries and "
            f"{self.gallery_size:,} pictures), more triplets to train on, or a backbone that knows such pictures."
        )

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods evaluated, in the ladder's order."""
        return tuple(self.evaluation_ids)

    @property
    def served(self) -> Method | None:
        """Of the methods evaluated, the one that a pipeline of them serves; None where none of them is."""
        if self.chosen is not None and self.chosen[0] in self.evaluation_ids:
            return METHODS[self.chosen[0]]
        return served(self.evaluation_ids)

    @property
    def main_metrics(self) -> tuple[MetricKey, ...]:
        """The headline's parts and the headline, as far as they were measured."""
        known = PROTOCOLS.get(self.protocol)
        wanted = (*(known.headline if known else self.metrics[:2]), HEADLINE)
        return tuple(key for key in wanted if key in self.metrics)

    def figure(self, method: str, metric: MetricKey, category: str = MEAN_CATEGORY) -> Figure:
        """A figure, or one without a value where it was not measured."""
        return self.figures.get((method, category, metric), NO_FIGURE)

    def best(self, metric: MetricKey, category: str = MEAN_CATEGORY) -> float | None:
        """The highest value of any method, in percent; None where there is none."""
        values = [self.figure(method, metric, category).value for method in self.methods]
        return max((value for value in values if value is not None), default=None)


def metric_label(metric: MetricKey) -> str:
    """Write a metric as the literature does: ``R@10``, ``Rs@1``, ``mAP@5``, ``mAP``, ``Headline``."""
    name, k = metric
    symbol = "Headline" if name == "headline" else _SYMBOLS.get(name, name)
    return f"{symbol}@{k}" if k else symbol


def in_metric_order(metrics: Iterable[MetricKey]) -> tuple[MetricKey, ...]:
    """Each metric once, as tables have them: average precision, recall, recall within the subset, headline."""
    return tuple(sorted(set(metrics), key=lambda key: (_METRIC_ORDER.get(key[0], 2), key[0], key[1])))


def method_label(method: str) -> str:
    """A method's label for people; an unknown method is called by its name."""
    return METHODS[method].label if method in METHODS else method


def ladders(evaluations: pl.DataFrame, metrics: pl.DataFrame) -> list[Ladder]:
    """Arrange evaluations as ladders: val before test, protocols in the order in which they stand.

    Args:
        evaluations: table ``evaluations`` of one pipeline; of several evaluations of one method, split and
            protocol the newest counts.
        metrics: table ``metrics``; other evaluations' rows may be there and are not looked at.

    Raises:
        ValueError: the evaluations are of several pipelines.
    """
    _require_one_pipeline(evaluations)
    protocols = {name: place for place, name in enumerate(dict.fromkeys(evaluations["protocol"]))}
    pairs = sorted(
        set(evaluations.select("split", "protocol").iter_rows()),
        key=lambda pair: (_SPLIT_ORDER.get(pair[0], 2), pair[0], protocols[pair[1]]),
    )
    every_ladder = []
    for split, protocol in pairs:
        rows = evaluations.filter((pl.col("split") == split) & (pl.col("protocol") == protocol)).sort(
            "created_at", "evaluation_id"
        )
        newest = {row["method"]: row for row in rows.iter_rows(named=True)}
        chosen = {method: newest[method] for method in _in_order(newest)}
        ids = {method: row["evaluation_id"] for method, row in chosen.items()}
        every_ladder.append(
            _ladder(
                split,
                protocol,
                max(row["queries"] or 0 for row in chosen.values()),
                max(row["gallery_size"] or 0 for row in chosen.values()),
                ids,
                metrics.filter(pl.col("evaluation_id").is_in(list(ids.values()))),
                {method: row["label"] for method, row in chosen.items() if row.get("label")},
                next(
                    ((method, said) for method, row in chosen.items() if (said := row.get("served_because"))),
                    None,
                ),
            )
        )
    return every_ladder


def ladder_markdown(evaluations: pl.DataFrame, metrics: pl.DataFrame) -> str:
    """The ladder as Markdown tables, one a split and protocol, each figure with its 95 % interval.

    Args:
        evaluations: table ``evaluations`` of one pipeline.
        metrics: table ``metrics``.

    Raises:
        ValueError: the evaluations are of several pipelines.
    """
    parts = []
    for ladder in ladders(evaluations, metrics):
        heads = ["Method", *(metric_label(metric) for metric in ladder.metrics)]
        lines = [
            f"**{markdown_text(ladder.split)}, {markdown_text(ladder.protocol)} protocol**: "
            f"{ladder.queries:,} queries, {ladder.gallery_size:,} pictures in the galleries",
            "",
            f"| {' | '.join(heads)} |",
            f"|:---|{'---:|' * len(ladder.metrics)}",
        ]
        for method in ladder.methods:
            cells = [
                _emphasised(ladder.figure(method, metric), ladder.best(metric)) for metric in ladder.metrics
            ]
            lines.append(f"| {markdown_text(ladder.label(method))} | {' | '.join(cells)} |")
        if ladder.chance(HEADLINE) is not None:
            drawn = " | ".join(Figure(ladder.chance(metric), None, None).text() for metric in ladder.metrics)
            lines.append(f"| {CHANCE} | {drawn} |")
        if ladder.nothing_learnt:
            lines += ["", ladder.nothing_learnt]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) or "There is no evaluation yet."


def markdown_text(text: str) -> str:
    """Any text as one line of Markdown, also within a table's cell, that reads as it is: no markup, no HTML."""
    return re.sub(r"([\\`*_\[\]<>|&~])", r"\\\1", " ".join(text.splitlines()))


def ladder_table(evaluations: pl.DataFrame, metrics: pl.DataFrame) -> Table:
    """The ladder for a terminal of 80 columns: the headline and its parts with 95 % intervals, val and test.

    Args:
        evaluations: table ``evaluations`` of one pipeline.
        metrics: table ``metrics``.

    Raises:
        ValueError: the evaluations are of several pipelines, or there are none.
    """
    every = ladders(evaluations, metrics)
    if not every:
        raise ValueError("there is no evaluation to show")
    first_protocol = [ladder for ladder in every if ladder.protocol == every[0].protocol]
    columns = tuple(dict.fromkeys(key for ladder in first_protocol for key in ladder.main_metrics))
    pipeline = " · ".join(str(evaluations[name][0]) for name in ("dataset", "backbone", "recipe"))
    table = Table(
        title=escape(f"{pipeline} ({every[0].protocol} protocol)"),
        caption="percent, with 95 % intervals over queries; chance: a ranking drawn at random",
        box=box.SIMPLE_HEAD,
        # Three figures of "100.0 (95.5–100.0)" and the longest method leave no room for more in 80 columns.
        show_edge=False,
        padding=0,
        title_style="bold",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("Method", no_wrap=True)
    for metric in columns:
        table.add_column(metric_label(metric), justify="right", overflow="fold")
    for ladder in first_protocol:
        table.add_row(
            Text.assemble((ladder.split, "bold"), (f"  {ladder.queries:,} queries", "dim")),
            *[""] * len(columns),
        )
        drawn_at_random = [ladder.chance(metric) for metric in columns]
        has_chance = any(chance is not None for chance in drawn_at_random)
        for method in ladder.methods:
            table.add_row(
                Text(f" {ladder.label(method)}"),
                *(_terminal_text(ladder.figure(method, metric), ladder.best(metric)) for metric in columns),
                end_section=method == ladder.methods[-1] and not has_chance,
            )
        if has_chance:
            table.add_row(
                Text(f" {CHANCE.lower()}", style="dim"),
                *(Text(Figure(chance, None, None).text(), style="dim") for chance in drawn_at_random),
                end_section=True,
            )
    return table


def _require_one_pipeline(evaluations: pl.DataFrame) -> None:
    """Refuse evaluations of several pipelines: their figures must not stand in one ladder."""
    pipelines = evaluations.select("dataset", "backbone", "recipe").unique().sort(pl.all())
    if pipelines.height > 1:
        named = ", ".join("/".join(map(str, row)) for row in pipelines.iter_rows())
        raise ValueError(f"a ladder is of one pipeline, these evaluations are of {pipelines.height}: {named}")


def _in_order(methods: Iterable[str]) -> list[str]:
    """Order methods as the ladder has them, unknown ones last and by name."""
    places = {method: place for place, method in enumerate(METHODS)}
    return sorted(methods, key=lambda method: (places.get(method, len(places)), method))


def _ladder(
    split: str,
    protocol: str,
    queries: int,
    gallery_size: int,
    ids: Mapping[str, str],
    metrics: pl.DataFrame,
    labels: Mapping[str, str],
    chosen: tuple[str, str] | None,
) -> Ladder:
    """Index the metric rows of one ladder's evaluations."""
    method_of = {evaluation_id: method for method, evaluation_id in ids.items()}
    figures: dict[tuple[str, str, MetricKey], Figure] = {}
    for row in metrics.iter_rows(named=True):
        key = (method_of[row["evaluation_id"]], row["category"], (row["metric"], row["k"]))
        value, low, high = (_finite(row[name]) for name in ("value", "ci_low", "ci_high"))
        figures[key] = Figure(value, low, high, _finite(row.get("chance")))
    keys = {metric for _, _, metric in figures}
    return Ladder(
        split=split,
        protocol=protocol,
        queries=queries,
        gallery_size=gallery_size,
        evaluation_ids=ids,
        metrics=in_metric_order(keys),
        categories=tuple(
            name for name in dict.fromkeys(category for _, category, _ in figures) if name != MEAN_CATEGORY
        ),
        figures=figures,
        labels=labels,
        gallery_sizes={
            row["category"]: row["gallery_size"]
            for row in metrics.iter_rows(named=True)
            if row["category"] != MEAN_CATEGORY and row.get("gallery_size")
        },
        chosen=chosen,
    )


def _finite(value: float | None) -> float | None:
    """None for what is no number, so that nobody reads "nan" as a result."""
    return None if value is None or value != value or value in (float("inf"), float("-inf")) else value


def _is_best(figure: Figure, best: float | None) -> bool:
    return figure.value is not None and figure.value == best


def _emphasised(figure: Figure, best: float | None) -> str:
    return f"**{figure.text()}**" if _is_best(figure, best) else figure.text()


def _terminal_text(figure: Figure, best: float | None) -> Text:
    value, _, interval = figure.text().partition(" ")
    return Text.assemble((value, "bold green" if _is_best(figure, best) else ""), (f" {interval}", "dim"))
