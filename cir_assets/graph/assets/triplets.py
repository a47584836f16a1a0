"""``<dataset>/triplets``: reference, relative captions and target, with every triplet's pictures present."""

import dagster as dg

from cir_assets.graph.columns import column_schema
from cir_assets.graph.step import step_asset
from cir_assets.pipeline.checks import (
    BATCHES_FILLED,
    CAPTIONS_PRESENT,
    PROTOCOLS_APPLICABLE,
    TRIPLET_PICTURES_PRESENT,
)
from cir_assets.pipeline.identity import DatasetPlan
from cir_assets.pipeline.tables import triplets_step
from cir_assets.store.contracts import TRIPLETS


def triplets_asset(data: DatasetPlan) -> dg.AssetsDefinition:
    """The table of triplets of one data set."""
    return step_asset(
        triplets_step(data),
        deps=[data.name("raw"), data.name("images")],
        of=data,
        kinds={"polars", "parquet"},
        checks=[TRIPLET_PICTURES_PRESENT, CAPTIONS_PRESENT, PROTOCOLS_APPLICABLE, BATCHES_FILLED],
        columns=column_schema(TRIPLETS),
        description=(
            "One row a triplet whose pictures are all there: reference, relative captions as written, target "
            "(null where the data set keeps it secret), split, category, and the set of look-alikes it belongs "
            f"to. `storage/tables/{data.dataset}/triplets.parquet`; triplets left out are rows of `data_issues`."
        ),
    )
