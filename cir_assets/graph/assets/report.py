"""``…/<recipe>/report``: the page people look at, with retrieval sheets in pictures."""

import dagster as dg

from cir_assets.graph.step import step_asset
from cir_assets.pipeline.checks import SELF_CONTAINED
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.report import report_step


def report_asset(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The report of one pipeline."""
    return step_asset(
        report_step(pipeline),
        deps=[pipeline.name("evaluation"), pipeline.data.name("images")],
        of=pipeline,
        kinds={"html", "plotly"},
        checks=[SELF_CONTAINED],
        description=(
            "One self-contained page: the ladder of methods as table and chart with intervals, training curves, "
            "the distribution of lambda, recall at k, retrieval sheets of the best, the median and the worst queries, "
            "and every query to be filtered and opened in pictures, method by method. "
            f"`storage/reports/{'/'.join(pipeline.place)}/index.html`."
        ),
    )
