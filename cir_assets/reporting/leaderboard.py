"""The leaderboard as a page: every pipeline's newest figures, champions, and published ones beside them."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from cir_assets.reporting.charts import DARK_OF, GRID, INK, MUTED, method_look, published_chart
from cir_assets.reporting.ladder import HEADLINE, Figure, in_metric_order, method_label, metric_label
from cir_assets.reporting.pictures import write_beside
from cir_assets.reporting.report import json_in_script, page_part
from cir_assets.reporting.story import FEW_QUERIES
from cir_assets.reporting.tables import FigureRow, comparison_table
from cir_assets.retrieval.chance import learnt_something
from cir_assets.retrieval.protocols import PROTOCOLS, MetricKey

CHARTED = 24
"""Bars a chart shows at most; the table has every row."""

PLACE = ("dataset", "backbone", "recipe")
"""What a pipeline's report is found by."""

LISTED_REPORTED, LISTED_DECISIONS = 400, 50
"""Rows of these tables the page shows at most; of more it says how many there are, and where."""


def write_leaderboard(connection: duckdb.DuckDBPyConnection, folder: Path) -> Path:
    """Write ``<folder>/index.html`` from the published tables: no request to the net, equal bytes for equal tables.

    Args:
        connection: to ``evaluation.duckdb``.
        folder: ``storage/reports``; pipelines' own pages below it are linked.

    Returns:
        The page, written beside and renamed.
    """
    rows = _rows(
        connection,
        "SELECT dataset, split, protocol, backbone, recipe, method, headline, headline_low, headline_high, "
        "queries, gallery_size, created_at, evaluation_id, chance, label, "
        "max(queries) OVER (PARTITION BY dataset) AS most_queries, "
        "max(created_at) OVER (PARTITION BY dataset) AS newest FROM leaderboard "
        "ORDER BY most_queries DESC, newest DESC, dataset, split DESC, protocol DESC, headline DESC NULLS LAST, "
        "backbone, recipe, method",
    )
    decisions = _rows(connection, "SELECT * FROM promotions ORDER BY decided_at DESC")
    champions = _champions(decisions)
    measured: dict[str, dict[MetricKey, float | None]] = {}
    for evaluation_id, metric, k, value in connection.sql(
        "SELECT evaluation_id, metric, k, value FROM metrics JOIN leaderboard USING (evaluation_id) "
        "WHERE category = 'mean' AND metric != 'headline'"
    ).fetchall():
        measured.setdefault(evaluation_id, {})[metric, k] = value
    boards: list[dict[str, Any]] = []
    for dataset, split, protocol in dict.fromkeys((r["dataset"], r["split"], r["protocol"]) for r in rows):
        own = [r for r in rows if (r["dataset"], r["split"], r["protocol"]) == (dataset, split, protocol)]
        metrics = in_metric_order(key for row in own for key in measured.get(row["evaluation_id"], ()))
        for row in own:
            row["figures"] = [measured.get(row["evaluation_id"], {}).get(key) for key in metrics]
            # What another system ranked has no report of its own: it stands in those of the data set.
            row["page"] = None if row["label"] else _address(row)
            row["label"] = row["label"] or method_label(row["method"])
            row["look"] = method_look(row["method"])[0]
            figure = Figure(row["headline"], row["headline_low"], row["headline_high"], row["chance"])
            few = row["queries"] < FEW_QUERIES
            row["doubt"] = f"{row['queries']:,} queries: says nothing" if few else figure.doubt
            row["champion"] = (*(row[name] for name in PLACE), row["method"]) in champions
        chance = next((row["chance"] for row in own if row["chance"] is not None), None)
        boards.append(
            {
                "dataset": dataset,
                "split": split,
                "protocol": protocol,
                "rows": own,
                "heads": [metric_label(key) for key in metrics],
                "id": len(boards),
                "name": "/".join((dataset, split, protocol)),
                "chance": chance,
                "learnt": learnt_something([row["headline_low"] for row in own], chance),
            }
        )
    drawn = {f"board-{board['id']}": _chart(board["rows"], board["chance"]) for board in boards}
    for board in boards:
        among = _among_published(connection, board["dataset"], board["split"], board["protocol"])
        board["among_published"] = among is not None
        if among is not None:
            drawn[f"published-{board['id']}"] = among
    reported = _rows(
        connection,
        "SELECT dataset, split, protocol, metric, k, backbone, recipe, method, ours, system, venue, published, "
        "difference, source FROM against_published WHERE category = 'mean' ORDER BY ALL",
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return write_beside(
        folder / "index.html",
        environment.from_string(page_part("leaderboard.html"))
        .render(
            boards=boards,
            reported=reported[:LISTED_REPORTED],
            all_reported=len(reported),
            decisions=decisions[:LISTED_DECISIONS],
            all_decisions=len(decisions),
            label=method_label,
            newest=max((row["created_at"] for row in rows), default=None),
            style=Markup(page_part("page.css")),
            plotly=Markup(get_plotlyjs().replace("</script", "<\\/script")),
            charts_script=Markup(page_part("charts.js")),
            script=Markup(page_part("leaderboard.js")),
            data=Markup(json_in_script({"charts": drawn, "dark": DARK_OF})),
        )
        .encode(),
    )


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    found = connection.sql(query)
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def _address(row: Mapping[str, Any]) -> str:
    """Where the report of a row's pipeline lies, from this page."""
    return "/".join([*(quote(row[name]) for name in PLACE), "index.html"])


def _champions(decisions: Sequence[Mapping[str, Any]]) -> set[tuple[str, ...]]:
    """Pipeline and method whose newest models are its champion: those the last decision promoted.

    Args:
        decisions: newest first.
    """
    last: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for row in decisions:
        last.setdefault(tuple(row[name] for name in PLACE), row)
    return {(*place, row["method"]) for place, row in last.items() if row["decision"] == "promoted"}


def _among_published(
    connection: duckdb.DuckDBPyConnection, dataset: str, split: str, protocol: str
) -> dict[str, Any] | None:
    """Each pipeline's best method among what others published, or None where nobody did."""
    known = PROTOCOLS.get(protocol)
    if known is None:
        return None
    table = comparison_table(connection, dataset, split, protocol)
    best: dict[tuple[str, str], FigureRow] = {}
    for row in table.rows:
        pipeline = row.backbone, row.system.rpartition(" (")[2]
        if row.ours and (pipeline not in best or _headline(row) > _headline(best[pipeline])):
            best[pipeline] = row
    shown = tuple(row for row in table.rows if not row.ours or row in best.values())
    return published_chart(replace(table, rows=shown), known.headline)


def _headline(row: FigureRow) -> float:
    return row.figures.get(HEADLINE, -1.0)


def _chart(rows: Sequence[dict[str, Any]], chance: float | None) -> dict[str, Any]:
    """Headlines with their intervals as bars, best at the top, and a line where chance is."""
    charted = [row for row in rows if row["headline"] is not None][:CHARTED][::-1]
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "x": [row["headline"] for row in charted],
                # Plotly reads tags within labels.
                "y": [
                    html.escape(f"{row['label']} · {row['recipe']} · {row['backbone']}") for row in charted
                ],
                "marker": {"color": [row["look"] for row in charted]},
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [(row["headline_high"] or row["headline"]) - row["headline"] for row in charted],
                    "arrayminus": [
                        row["headline"] - (row["headline_low"] or row["headline"]) for row in charted
                    ],
                    "color": MUTED,
                },
                "hovertemplate": "%{y}: %{x:.1f} %<extra></extra>",
            }
        ],
        "layout": {
            "height": 90 + 26 * len(charted),
            "margin": {"l": 8, "r": 16, "t": 24, "b": 40},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"size": 12, "color": MUTED},
            "xaxis": {"title": {"text": "headline, percent"}, "range": [0, 100], "gridcolor": GRID},
            "yaxis": {"automargin": True},
            "showlegend": False,
            **({} if chance is None else _chance_line(chance)),
        },
    }


def _chance_line(chance: float) -> dict[str, Any]:
    """What a random ranking gets, as a dotted line over all bars."""
    return {
        "shapes": [
            {
                "type": "line",
                "x0": chance,
                "x1": chance,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": INK, "dash": "dot", "width": 1.5},
            }
        ],
        "annotations": [
            {
                "x": chance,
                "y": 1,
                "yref": "paper",
                "yanchor": "bottom",
                "text": f"chance {chance:.1f}",
                "showarrow": False,
            }
        ],
    }
