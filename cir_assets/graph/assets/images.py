"""``<dataset>/images``: which pictures there are, in which galleries, and which are broken."""

import dagster as dg

from cir_assets.graph.columns import column_schema
from cir_assets.graph.step import step_asset
from cir_assets.pipeline.checks import PICTURES_READABLE, SPLITS_DISJOINT
from cir_assets.pipeline.identity import DatasetPlan
from cir_assets.pipeline.tables import images_step
from cir_assets.store.contracts import IMAGES


def images_asset(data: DatasetPlan) -> dg.AssetsDefinition:
    """The table of pictures of one data set."""
    return step_asset(
        images_step(data),
        deps=[data.name("raw")],
        of=data,
        kinds={"polars", "parquet"},
        checks=[PICTURES_READABLE, SPLITS_DISJOINT],
        columns=column_schema(IMAGES),
        description=(
            "One row a picture that opens: its id, its path below the picture folder, the SHA-256 of its bytes "
            "(`image_key`), format, mode, width and height in pixels, bytes. Beside it `galleries`: one row a "
            "split, category and picture, in file order. Pictures that are missing or do not open are rows of "
            "`data_issues`, and of `missing_pictures` with the triplets that fall with them. "
            f"Parquet files in `storage/tables/{data.dataset}/`."
        ),
    )
