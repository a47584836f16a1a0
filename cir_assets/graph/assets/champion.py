"""``…/<recipe>/challenger`` and ``champion``: newly trained models serve only if they are not worse."""

import dagster as dg

from cir_assets.graph.columns import column_schema
from cir_assets.graph.freshness import freshness_policy
from cir_assets.graph.step import step_asset
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.judging import challenger_step, champion_step, not_worse
from cir_assets.store.contracts import PROMOTIONS


def challenger_asset(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The judgement over a pipeline's newest models."""
    data, rule = pipeline.data, pipeline.data.promotion
    return step_asset(
        challenger_step(pipeline),
        deps=pipeline.ranked_from(),
        of=pipeline,
        kinds={"torch", "parquet"},
        columns=column_schema(PROMOTIONS),
        description=(
            f"The newest models of `{'/'.join(pipeline.models_place)}` against the champion's: of their methods the "
            "one that is best on val and the champion's rank the same val queries under "
            f"`{data.protocols[0]}`, and a paired bootstrap says by how much "
            f"they differ. Promoted if the lower bound is above {-rule.margin:+g} points of the headline"
            f"{' and the difference above 0' if rule.better_on_average else ''}. Each decision is a row of "
            f"`promotions` and of `storage/champions/{'/'.join(pipeline.place)}.parquet`."
        ),
    )


def champion_asset(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The models of a pipeline that serve."""
    rule = pipeline.data.promotion
    return step_asset(
        champion_step(pipeline),
        deps=[pipeline.name("challenger")],
        of=pipeline,
        kinds={"safetensors"},
        checks=[not_worse(pipeline)],
        freshness=freshness_policy([rule]),
        description=(
            "The models that search and serving read: those promoted last, or gone back to with `cir-assets rollback "
            f"{'/'.join(pipeline.place)}`. Their versions stay on disk for good, with the newest "
            f"{rule.keep_versions} of each model."
        ),
    )
