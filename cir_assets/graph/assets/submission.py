"""``…/<recipe>/submission``: the files a data set's test server takes, where test keeps its targets secret."""

import dagster as dg

from cir_assets.datasets.dataset_source import TestServer
from cir_assets.graph.step import step_asset
from cir_assets.pipeline.checks import SUBMISSION_COMPLETE
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.submission import submission_step


def submission_asset(pipeline: Pipeline, server: TestServer) -> dg.AssetsDefinition:
    """The submission files of one pipeline's best method."""
    return step_asset(
        submission_step(pipeline),
        deps=pipeline.ranked_from(),
        of=pipeline,
        kinds={"json", "torch"},
        checks=[SUBMISSION_COMPLETE],
        description=(
            f"Rankings of `{pipeline.served_method}` for the test split, whose targets are secret, as its server takes "
            f"them ({server.address}): JSON files in `storage/reports/{'/'.join(pipeline.place)}/submission/`."
        ),
    )
