"""``leaderboard``: every evaluation there is, published as the one database people query."""

from collections.abc import Sequence

import dagster as dg

from cir_assets.graph.conditions import on_upstream_change
from cir_assets.graph.freshness import freshness_policy
from cir_assets.graph.step import step_asset
from cir_assets.pipeline.checks import PUBLISHED
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.publication import leaderboard_step

EVALUATED_BY = ("evaluation", "challenger")


def leaderboard_asset(pipelines: Sequence[Pipeline], set_aside: Sequence[str] = ()) -> dg.AssetsDefinition:
    """The published database over all pipelines, and over what there is of data sets whose YAML is wrong.

    It is as patient as the most patient champion: the longest of their freshness windows is its own.
    """
    return step_asset(
        leaderboard_step(pipelines, set_aside),
        deps=[
            *(pipeline.name(step) for pipeline in pipelines if pipeline.models for step in EVALUATED_BY),
            *dict.fromkeys(pipeline.data.name("triplets") for pipeline in pipelines),
            *dict.fromkeys(b.name("evaluation") for pipeline in pipelines for b in pipeline.data.brought),
        ],
        of="leaderboard",
        kinds={"duckdb"},
        condition=on_upstream_change(waits=False),
        freshness=freshness_policy(pipeline.data.promotion for pipeline in pipelines if pipeline.models),
        checks=[PUBLISHED],
        description=(
            "Every evaluation there is, with metrics, rankings, retrieved pictures, training curves, the data "
            "sets' tables, decisions about champions and published figures, as `storage/evaluation.duckdb`: views "
            "`leaderboard` and `against_published`. Replaced whole, so a client may hold it open. It waits for no "
            "missing evaluation. Column comments are in the database itself. As a page: `storage/reports/index.html`."
        ),
    )
