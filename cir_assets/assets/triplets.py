"""``<dataset>/triplets``: reference, relative captions and target, with every triplet's pictures present."""

import dagster as dg
import polars as pl

from cir_assets.assets.pipeline import DatasetGraph
from cir_assets.assets.step import Made, Step, content_versions, make_or_reuse
from cir_assets.assets.tables import column_schema, read_table, write_table
from cir_assets.automation import on_upstream_change
from cir_assets.checks import captions_present, triplet_pictures_present
from cir_assets.resources import Storage
from cir_assets.store.contracts import TRIPLETS
from cir_assets.store.ledger import digest, digest_frame

GENERATION = 1


def triplets_asset(graph: DatasetGraph) -> dg.AssetsDefinition:
    """The table of triplets of one data set."""
    step = Step(graph.key("triplets"), GENERATION, {"source": graph.source.model_dump(mode="json")})

    @dg.asset(
        key=step.key,
        deps=[graph.key("raw"), graph.key("images")],
        group_name=graph.dataset,
        kinds={"polars", "parquet"},
        owners=list(graph.owners),
        code_version=step.code_version,
        automation_condition=on_upstream_change(),
        check_specs=[
            dg.AssetCheckSpec(
                "pictures_present",
                asset=step.key,
                description="No triplet had to be left out because a picture of it is missing or broken.",
            ),
            dg.AssetCheckSpec(
                "captions_present", asset=step.key, description="Every triplet says something."
            ),
        ],
        metadata={"dagster/column_schema": column_schema(TRIPLETS)},
        description=(
            "One row a triplet whose pictures are all there: reference, relative captions as written, target "
            "(null where the data set keeps it secret), split, category, and the set of look-alikes it belongs "
            f"to. `storage/tables/{graph.dataset}/triplets.parquet`; triplets left out are rows of `data_issues`."
        ),
    )
    def triplets(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        def make(_version: str) -> Made:
            from cir_assets.datasets.sources import read_annotations

            folder = storage.tables(graph.dataset)
            annotations = read_annotations(graph.source, storage.raw(graph.dataset))
            kept, dropped = split_by_pictures(annotations.triplets, read_table(folder, "images"))
            issues = pl.concat([annotations.issues, dropped])
            return Made(
                data_version=digest({"triplets": digest_frame(kept), "issues": digest_frame(issues)}),
                metadata={
                    "dagster/row_count": kept.height,
                    **{
                        f"{split}_triplets": count
                        for split, count in kept.group_by("split").len().iter_rows()
                    },
                    "left_out": dropped.height,
                },
                checks={
                    "pictures_present": triplet_pictures_present(kept, dropped),
                    "captions_present": captions_present(kept),
                },
                files=[
                    write_table(kept, folder, "triplets"),
                    write_table(issues, folder, "data_issues/triplets"),
                ],
            )

        return make_or_reuse(
            context,
            storage,
            step,
            content_versions(storage, graph.name("raw"), graph.name("images")),
            make,
            severity={
                "pictures_present": dg.AssetCheckSeverity.WARN,
                "captions_present": dg.AssetCheckSeverity.WARN,
            },
        )

    return triplets


def split_by_pictures(triplets: pl.DataFrame, images: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Triplets whose reference and target are there, and an issue for each that falls.

    Members of a set that are missing shrink the set; only a missing reference or target drops the triplet.
    """
    there = pl.col("reference").is_in(images["image"].implode()) & (
        pl.col("target").is_null() | pl.col("target").is_in(images["image"].implode())
    )
    dropped = triplets.filter(~there).select(
        kind=pl.lit("triplet_without_picture"),
        subject=pl.col("triplet_id"),
        detail=pl.format("reference {}, target {}", "reference", pl.col("target").fill_null("unknown")),
    )
    return triplets.filter(there), dropped
