"""``<dataset>/images``: which pictures there are, in which galleries, and which are broken."""

import dagster as dg
import polars as pl

from cir_assets.assets.pipeline import DatasetGraph
from cir_assets.assets.scanning import scanned
from cir_assets.assets.step import Made, Step, content_versions, logged_progress, make_or_reuse
from cir_assets.assets.tables import column_schema, write_table
from cir_assets.automation import on_upstream_change
from cir_assets.checks import pictures_readable, splits_disjoint
from cir_assets.resources import Storage
from cir_assets.store.contracts import IMAGES
from cir_assets.store.ledger import digest, digest_frame

GENERATION = 2


def images_asset(graph: DatasetGraph) -> dg.AssetsDefinition:
    """The table of pictures of one data set."""
    step = Step(
        graph.key("images"),
        GENERATION,
        {"source": graph.source.model_dump(mode="json"), "pixel_limit": graph.pixel_limit},
    )

    @dg.asset(
        key=step.key,
        deps=[graph.key("raw")],
        group_name=graph.dataset,
        kinds={"polars", "parquet"},
        owners=list(graph.owners),
        code_version=step.code_version,
        automation_condition=on_upstream_change(),
        check_specs=[
            dg.AssetCheckSpec("pictures_readable", asset=step.key, description="Every named picture opens."),
            dg.AssetCheckSpec(
                "splits_disjoint",
                asset=step.key,
                description="No picture, and no exact copy of one, is in train and in val or test.",
            ),
        ],
        metadata={"dagster/column_schema": column_schema(IMAGES)},
        description=(
            "One row a picture that opens: its id, its path below the picture folder, the SHA-256 of its bytes "
            "(`image_key`), format, mode, width and height in pixels, bytes. Beside it `galleries`: one row a "
            "split, category and picture, in file order. Pictures that are missing or do not open are rows of "
            "`data_issues`, and of `missing_pictures` with the triplets that fall with them. "
            f"Parquet files in `storage/tables/{graph.dataset}/`."
        ),
    )
    def images(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        def make(_version: str) -> Made:
            from cir_assets.datasets.pictures import missing_pictures

            annotations, pictures, issues = scanned(storage, graph, logged_progress(context))
            galleries = annotations.galleries.join(pictures.select("image"), on="image", how="semi")
            missing = missing_pictures(annotations, pictures)
            folder = storage.tables(graph.dataset)
            return Made(
                data_version=digest(
                    {
                        "images": digest_frame(pictures),
                        "galleries": digest_frame(galleries),
                        "issues": digest_frame(issues),
                    }
                ),
                metadata={
                    "dagster/row_count": pictures.height,
                    "gallery_rows": galleries.height,
                    "issues": issues.height,
                    "missing_pictures": missing["image"].n_unique(),
                    "missing": {"markdown": missing_markdown(missing)},
                    "megabytes": round(float(pictures["bytes"].sum()) / 1e6, 1),
                },
                checks={
                    "pictures_readable": pictures_readable(pictures, issues),
                    "splits_disjoint": splits_disjoint(pictures, galleries),
                },
                files=[
                    write_table(pictures, folder, "images"),
                    write_table(galleries, folder, "galleries"),
                    write_table(missing, folder, "missing_pictures"),
                    write_table(issues, folder, "data_issues/images"),
                ],
            )

        return make_or_reuse(
            context,
            storage,
            step,
            content_versions(storage, graph.name("raw")),
            make,
            severity={
                "pictures_readable": dg.AssetCheckSeverity.WARN,
                "splits_disjoint": dg.AssetCheckSeverity.WARN,
            },
        )

    return images


def missing_markdown(missing: pl.DataFrame) -> str:
    """What is missing, summed up by split and category, as a Markdown table."""
    from cir_assets.reporting.ladder import markdown_text

    lines = [
        "| split | category | gallery pictures missing | triplets lost |",
        "|---|---|---:|---:|",
    ]
    summed = missing.group_by("split", "category", maintain_order=True).agg(
        pl.col("in_gallery").sum(), pl.col("triplets_lost").sum()
    )
    lines += [
        f"| {markdown_text(split)} | {markdown_text(category)} | {gallery:,} | {lost:,} |"
        for split, category, gallery, lost in summed.rows()
    ]
    return "\n".join(lines) if missing.height else "none"
