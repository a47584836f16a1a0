"""``<dataset>/rankings/<name>/evaluation``: what another system ranked, as a method beside those trained here."""

import dagster as dg

from cir_assets.graph.step import step_asset
from cir_assets.pipeline.brought_ranking import brought_ranking_step
from cir_assets.pipeline.checks import EVALUATION_COMPLETE
from cir_assets.pipeline.identity import BroughtRanking


def brought_ranking_asset(brought: BroughtRanking) -> dg.AssetsDefinition:
    """The evaluation of one ranking brought from elsewhere."""
    data = brought.data
    files = " and ".join(f"`{path}`" for path in brought.ranking.paths)
    return step_asset(
        brought_ranking_step(brought),
        deps=[data.name("images"), data.name("triplets")],
        of=data,
        kinds={"duckdb", "files"},
        checks=[EVALUATION_COMPLETE],
        description=(
            f"`{brought.label}` as another system ranked it: the lists of {files}, one a query of "
            f"{brought.ranking.split} under `{brought.protocol}`, evaluated as every method is, with intervals, each "
            "target's rank and the 50 best pictures. The file's content is part of the version: materialize this "
            "when it changed. Tables `evaluations`, `metrics`, `rankings`, `retrieved` and `left_out` of "
            f"`storage/results/{'/'.join(brought.place)}.duckdb`."
        ),
    )
