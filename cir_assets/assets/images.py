"""``<dataset>/images``: which pictures there are, in which galleries, and which are broken."""

from __future__ import annotations

from typing import Any

import dagster as dg

from cir_assets.assets.pipeline import DatasetGraph
from cir_assets.assets.step import Made, Step, content_versions, logged_progress, make_or_reuse
from cir_assets.checks import pictures_readable, splits_disjoint
from cir_assets.resources import Storage
from cir_assets.store.ledger import digest, digest_frame

GENERATION = 1


def images_asset(graph: DatasetGraph) -> dg.AssetsDefinition:
    """The table of pictures of one data set."""
    step = Step(graph.key("images"), GENERATION, {"pixel_limit": graph.pixel_limit})

    @dg.asset(
        key=step.key,
        deps=[graph.key("raw")],
        group_name=graph.dataset,
        kinds={"polars", "parquet"},
        owners=list(graph.owners),
        code_version=step.code_version,
        automation_condition=on_change(),
        check_specs=[
            dg.AssetCheckSpec("pictures_readable", asset=step.key, description="Every named picture opens."),
            dg.AssetCheckSpec(
                "splits_disjoint",
                asset=step.key,
                description="No picture, and no exact copy of one, is in the galleries of train and of val or test.",
            ),
        ],
        metadata={"dagster/column_schema": table_schema("images")},
        description=(
            "One row a picture that opens: its id, its path below the picture folder, the SHA-256 of its bytes "
            "(`image_key`), format, mode, width and height in pixels, bytes. Beside it `galleries`: one row a "
            "split, category and picture, in file order. Pictures that are missing or do not open are rows of "
            f"`data_issues`. Parquet files in `storage/tables/{graph.dataset}/`."
        ),
    )
    def images(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        ...

    return images
