"""A table of figures, ours among those others published, for a paper, a page or a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from cir_assets.reporting.ladder import in_metric_order, markdown_text, method_label, metric_label
from cir_assets.retrieval.protocols import MetricKey


class NoTable(LookupError):
    """There is nothing to make a table of; the message says what there is."""


@dataclass(frozen=True)
class FigureRow:
    """One system's figures in percent.

    Attributes:
        system: the method, and of ours the recipe.
        backbone: the network it rests on.
        venue: where it was published; "ours" for ours.
        supervision: supervised or zero-shot; "ours" for ours.
        figures: what was measured.
        low: lower ends of the 95 % intervals, where they are known.
        high: upper ends.
    """

    system: str
    backbone: str
    venue: str
    supervision: str
    figures: Mapping[MetricKey, float]
    low: Mapping[MetricKey, float]
    high: Mapping[MetricKey, float]

    @property
    def ours(self) -> bool:
        """Whether it was measured here."""
        return self.venue == OURS


OURS = "ours"


@dataclass(frozen=True)
class ComparisonTable:
    """Figures of one data set, split, protocol and category, by backbone; the metrics are the columns."""

    caption: str
    metrics: tuple[MetricKey, ...]
    rows: tuple[FigureRow, ...]

    def best(self, metric: MetricKey) -> float | None:
        """The highest value of a column."""
        return max((row.figures[metric] for row in self.rows if metric in row.figures), default=None)


def comparison_table(
    connection: duckdb.DuckDBPyConnection,
    dataset: str,
    split: str,
    protocol: str | None = None,
    category: str = "mean",
    *,
    published: bool = True,
) -> ComparisonTable:
    """Ours, each pipeline's and method's newest, and what others published under the very same protocol.

    Args:
        connection: to ``evaluation.duckdb``.
        dataset: its name.
        split: val or test.
        protocol: None takes the first that was evaluated, else the first that was published.
        category: or "mean".
        published: whether others' figures are wanted.

    Raises:
        NoTable: nothing was evaluated or published of that, naming what there is.
    """
    theirs = "UNION SELECT dataset, split, protocol, 'z' FROM published_results" if published else ""
    there = connection.execute(
        "SELECT dataset, split, protocol, min(place) AS place FROM "
        f"(SELECT dataset, split, protocol, 'a' AS place FROM leaderboard {theirs}) GROUP BY ALL "
        "ORDER BY place, protocol"
    ).fetchall()
    known = [found for of, where, found, _ in there if (of, where) == (dataset, split)]
    if not known or (protocol is not None and protocol not in known):
        every = "; ".join(sorted(f"{of}, {where}, {found}" for of, where, found, _ in there)) or "nothing"
        wanted = f"{dataset}, {split}" + (f", {protocol}" if protocol else "")
        raise NoTable(f"there are no figures of {wanted}; there are of: {every}")
    protocol = protocol or known[0]
    rows = connection.execute(
        "SELECT method, recipe, backbone, metric, k, value, m.ci_low, m.ci_high "
        "FROM leaderboard JOIN metrics AS m USING (evaluation_id) "
        "WHERE (dataset, split, protocol, category) = ($1, $2, $3, $4) ORDER BY ALL",
        [dataset, split, protocol, category],
    ).fetchall()
    found = [(f"{method_label(row[0])} ({row[1]})", row[2], OURS, OURS, *row[3:]) for row in rows]
    if published:
        found += connection.execute(
            f"SELECT {', '.join(SYSTEM)}, metric, k, value, NULL, NULL FROM published_results "
            "WHERE (dataset, split, protocol, category) = ($1, $2, $3, $4) ORDER BY ALL",
            [dataset, split, protocol, category],
        ).fetchall()
    if not found:
        raise NoTable(f"there are no figures of category {category!r} of {dataset}, {split}, {protocol}")
    mean = "mean over categories" if category == "mean" else category
    return arranged(f"{dataset}, {split}, protocol {protocol}, {mean}, percent", found)


SYSTEM = ("system", "backbone", "venue", "supervision")
"""What names a row."""


def arranged(caption: str, found: Iterable[tuple[Any, ...]]) -> ComparisonTable:
    """Figures as a table.

    Args:
        caption: what they are of.
        found: system, backbone, venue, supervision, metric, k, percent, lower and upper end of its interval or None.
    """
    systems: dict[tuple[str, str, str, str], list[tuple[MetricKey, float, float | None, float | None]]] = {}
    for system, backbone, venue, supervision, metric, k, value, low, high in found:
        named = systems.setdefault((system, backbone, venue, supervision), [])
        named.append(((metric, k), value, low, high))
    metrics = in_metric_order(key for measured in systems.values() for key, *_ in measured)
    rows = [
        FigureRow(
            *system,
            figures={key: value for key, value, _, _ in measured},
            low={key: low for key, _, low, _ in measured if low is not None},
            high={key: high for key, _, _, high in measured if high is not None},
        )
        for system, measured in systems.items()
    ]
    # By backbone, ours after the others' of the same, the better one lower, as papers have it.
    rows.sort(key=lambda row: (row.backbone, row.ours, row.figures.get(metrics[0], -1.0), row.system))
    return ComparisonTable(caption, metrics, tuple(rows))


def as_markdown(table: ComparisonTable) -> str:
    """A Markdown table, the best of each column bold."""
    heads = ["System", "Backbone", "Venue", *map(metric_label, table.metrics)]
    lines = [
        table.caption,
        "",
        f"| {' | '.join(heads)} |",
        f"|:---|:---|:---|{'---:|' * len(table.metrics)}",
    ]
    for row in table.rows:
        cells = [_emphasised(table, row, key, "**{}**") for key in table.metrics]
        names = map(markdown_text, (row.system, row.backbone, row.venue))
        lines.append(f"| {' | '.join([*names, *cells])} |")
    return "\n".join(lines)


def as_latex(table: ComparisonTable) -> str:
    """A ``tabular`` with booktabs' rules in a ``table``, the best of each column bold."""
    heads = ["System", "Backbone", "Venue", *map(metric_label, table.metrics)]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex_text(table.caption)}}}",
        rf"\begin{{tabular}}{{lll{'r' * len(table.metrics)}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
    ]
    before = table.rows[0].backbone
    for row in table.rows:
        if row.backbone != before:
            lines.append(r"\midrule")
            before = row.backbone
        cells = [_emphasised(table, row, key, r"\textbf{{{}}}") for key in table.metrics]
        names = map(_latex_text, (row.system, row.backbone, row.venue))
        lines.append(" & ".join([*names, *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def as_csv(table: ComparisonTable) -> str:
    """Comma-separated values with every interval that is known, for a spreadsheet."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    parts = [(metric_label(key), key) for key in table.metrics]
    writer.writerow(
        [
            "system",
            "backbone",
            "venue",
            *(f"{head}{end}" for head, _ in parts for end in ("", " low", " high")),
        ]
    )
    for row in table.rows:
        cells = [_number(each.get(key)) for key in table.metrics for each in (row.figures, row.low, row.high)]
        writer.writerow([row.system, row.backbone, row.venue, *cells])
    return written.getvalue().rstrip("\n")


FORMS: Mapping[str, Callable[[ComparisonTable], str]] = {
    "markdown": as_markdown,
    "latex": as_latex,
    "csv": as_csv,
}
"""Every form a table is written in."""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _emphasised(table: ComparisonTable, row: FigureRow, key: MetricKey, best: str) -> str:
    value = row.figures.get(key)
    text = _number(value) or "–"
    return best.format(text) if value is not None and value == table.best(key) else text


def _latex_text(text: str) -> str:
    """Any text as LaTeX reads it as it is."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {each: f"\\{each}" for each in "&%$#_{}"}
    return "".join(special.get(each, each) for each in " ".join(text.split()))
