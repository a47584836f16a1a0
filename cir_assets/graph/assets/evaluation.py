"""``…/<recipe>/evaluation``: the ladder of methods, under every protocol, on val and test."""

import dagster as dg

from cir_assets.graph.step import step_asset
from cir_assets.pipeline.checks import EVALUATION_COMPLETE, ladder_check
from cir_assets.pipeline.evaluation import evaluation_step
from cir_assets.pipeline.identity import Pipeline


def evaluation_asset(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The evaluation of one pipeline."""
    data = pipeline.data
    return step_asset(
        evaluation_step(pipeline),
        deps=pipeline.ranked_from(),
        of=pipeline,
        kinds={"torch", "duckdb"},
        checks=[EVALUATION_COMPLETE, ladder_check(pipeline.methods)],
        description=(
            f"The methods {', '.join(pipeline.methods)} with the models of `{'/'.join(pipeline.models_place)}`: "
            "figures in percent with 95 % bootstrap intervals, every query's target rank and its 50 best pictures, "
            "on val and on test where its targets are public, under "
            f"{', '.join(data.protocols)}. What could not take part is told in `left_out`. Tables `evaluations`, "
            "`metrics`, `rankings`, `retrieved` and `left_out` of "
            f"`storage/results/{'/'.join(pipeline.place)}.duckdb`."
        ),
    )
