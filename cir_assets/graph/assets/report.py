"""``…/<recipe>/report``: the page people look at, with retrieval sheets in pictures."""

import dagster as dg

from cir_assets.graph.step import step_asset
from cir_assets.pipeline.checks import SELF_CONTAINED
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.report import report_step, shown_steps


def report_asset(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The report of one pipeline."""
    return step_asset(
        report_step(pipeline),
        deps=shown_steps(pipeline),
        of=pipeline,
        kinds={"html", "plotly"},
        checks=[SELF_CONTAINED],
        description=(
            "One self-contained page: what was reached in a sentence and a picture, the ladder of methods as table and "
            "chart with intervals and chance, what one modality alone solves, training curves, settings and versions, "
            "the distribution of lambda, recall at k, retrieval sheets of the best, the median and the worst queries, "
            "and every query to be filtered and opened in pictures, method by method. "
            f"`storage/reports/{'/'.join(pipeline.place)}/index.html`."
        ),
    )
