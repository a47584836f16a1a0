"""``<dataset>/raw``: a data set's files, fetched or rendered, checked."""

import dagster as dg

from cir_assets.graph.step import step_asset
from cir_assets.pipeline.checks import PICTURES_KEPT, RAW_PICTURES_PRESENT
from cir_assets.pipeline.identity import DatasetPlan
from cir_assets.pipeline.source import raw_step


def raw_asset(data: DatasetPlan) -> dg.AssetsDefinition:
    """The root asset of one data set."""
    return step_asset(
        raw_step(data),
        of=data,
        kinds={data.source.kind, "files"},
        checks=[RAW_PICTURES_PRESENT, PICTURES_KEPT],
        description=(
            f"The files of `{data.dataset}` as they were rendered, fetched or found: annotations and pictures. "
            f"Rendered and fetched files lie in `storage/raw/{data.dataset}/`; a local folder is read where it "
            "is. The version is the digest of every annotation and every picture's bytes."
        ),
    )
