"""``…/<recipe>/search``: what the search server reads, for the champion and the gallery of today."""

from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from cir_assets.assets.champion import model_folders
from cir_assets.assets.inputs import PipelineInputs, installed_backbone, load_inputs, load_tuned
from cir_assets.assets.pipeline import Pipeline, names
from cir_assets.assets.step import Made, Step, content_versions, make_or_reuse
from cir_assets.assets.tables import read_table
from cir_assets.automation import on_upstream_change
from cir_assets.checks import Check
from cir_assets.resources import Storage
from cir_assets.store.ledger import digest, digest_array, digest_frame
from cir_assets.store.promotions import PromotionLog, models_digest

if TYPE_CHECKING:
    from pathlib import Path

GENERATION = 2
EXAMPLES = 24
"""Queries of val with known answers, offered to be tried."""


def search_asset(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The export of one pipeline for searching."""
    graph, settings = pipeline.graph, pipeline.encoded.settings
    step = Step(
        pipeline.key("search"),
        GENERATION,
        {
            "padding": settings.padding,
            "target_ratio": settings.target_ratio,
            "pixel_limit": graph.pixel_limit,
        },
    )
    gallery = [graph.key("images"), graph.key("triplets"), pipeline.encoded.key("image_features")]
    # Decided there; what hangs on the asset champion would be skipped with it in a run that ends in a refusal.
    decisions = [pipeline.key("challenger")] if pipeline.models else []

    @dg.asset(
        key=step.key,
        deps=[*decisions, *gallery],
        group_name=graph.dataset,
        kinds={"numpy", "parquet"},
        owners=list(graph.owners),
        code_version=step.code_version,
        automation_condition=on_upstream_change(may_be_missing=decisions),
        check_specs=[
            dg.AssetCheckSpec("gallery_searchable", asset=step.key, description="There are pictures to find.")
        ],
        description=(
            "The champion of this pipeline and the gallery's features under it, as `make search` serves them: "
            f"`storage/search/{'/'.join(pipeline.place)}/<version>/`. A running server takes a new version within "
            "seconds. Where there is no champion, as for pictures without a triplet, CLIP searches as it came."
        ),
    )
    def search(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        champion = PromotionLog(storage.promotions(*pipeline.place)).champion()
        versions = content_versions(storage, *names(gallery))
        versions["champion"] = models_digest(champion) if champion else "none"
        return make_or_reuse(
            context, storage, step, versions, lambda version: exported(context, storage, pipeline, version)
        )

    return search


def exported(context: dg.AssetExecutionContext, storage: Storage, pipeline: Pipeline, version: str) -> Made:
    """Write a version of what search reads, and make it the current one."""
    from cir_assets.assets.image_features import encode_missing, tuned_encoder
    from cir_assets.serving.export import Exported, export

    graph, settings = pipeline.graph, pipeline.encoded.settings
    log = PromotionLog(storage.promotions(*pipeline.place))
    champion = log.champion() or {}
    folders = {name.rpartition("/")[2]: folder for name, folder in model_folders(storage, champion).items()}
    backbone = installed_backbone(storage, pipeline.encoded)
    inputs = load_inputs(storage, pipeline.encoded, backbone)
    if "text_encoder" in folders:
        if pipeline.tunes_images:
            encode_missing(
                context, storage, pipeline.encoded, tuned_encoder(storage, pipeline, folders["text_encoder"])
            )
        inputs = load_tuned(storage, pipeline, backbone, inputs, folders["text_encoder"])
    features = inputs.features.cpu().numpy()
    pictures = gallery_pictures(storage, graph.dataset, inputs)
    examples = example_queries(inputs)
    reign = log.reigns().row(-1, named=True) if champion else None
    destination = export(
        storage.search(*pipeline.place),
        version,
        Exported(
            dataset=graph.dataset,
            backbone=pipeline.encoded.backbone,
            recipe=pipeline.recipe_name,
            method=pipeline.served_method if reign else "sum",
            champion=reign["challenger"] if reign else None,
            champion_since=reign["decided_at"].isoformat(timespec="seconds") if reign else None,
            headline=reign["challenger_headline"] if reign else None,
            models={model: _relative(storage, folder) for model, folder in folders.items()},
            backbone_folder=_relative(storage, storage.backbone(pipeline.encoded.backbone)),
            picture_root=_relative(storage, picture_root(storage, pipeline)),
            padding=settings.padding,
            target_ratio=settings.target_ratio,
            pixel_limit=graph.pixel_limit,
        ),
        features,
        pictures,
        examples,
    )
    return Made(
        data_version=digest(
            [
                versions_digest(champion),
                digest_array(features),
                digest_frame(pictures),
                digest_frame(examples),
            ]
        ),
        metadata={
            "pictures": pictures.height,
            "champion": reign["challenger"] if reign else "none: CLIP as it came",
            "megabytes": round(sum(file.stat().st_size for file in destination.iterdir()) / 1e6, 1),
            "folder": {"path": str(destination)},
        },
        checks={
            "gallery_searchable": Check(pictures.height > 0, f"{pictures.height:,} pictures can be found")
        },
        files=[destination],
    )


def versions_digest(champion: dict[str, str]) -> str:
    """The champion's models as one version."""
    return models_digest(champion) if champion else "none"


def gallery_pictures(storage: Storage, dataset: str, inputs: PipelineInputs) -> pl.DataFrame:
    """image, path, category and image_key of every picture with a feature, in the features' order."""
    paths = read_table(storage.tables(dataset), "images").select("image", "path")
    categories = inputs.galleries.group_by("image", maintain_order=True).agg(pl.col("category").first())
    return (
        inputs.feature_images.select("image", "image_key")
        .join(paths, on="image", how="left", maintain_order="left")
        .join(categories, on="image", how="left", maintain_order="left")
    )


def example_queries(inputs: PipelineInputs) -> pl.DataFrame:
    """A few queries of val, spread over it, whose pictures can be shown."""
    from cir_assets.datasets.captions import evaluation_caption

    there = inputs.feature_images["image"].implode()
    asked = inputs.triplets.filter(
        (pl.col("split") == "val") & pl.col("reference").is_in(there) & pl.col("target").is_in(there)
    )
    asked = asked.gather_every(max(1, asked.height // EXAMPLES)).head(EXAMPLES)
    return asked.select(
        query_id="triplet_id",
        reference="reference",
        caption=pl.Series([evaluation_caption(captions) for captions in asked["captions"]], dtype=pl.String),
        target="target",
        category="category",
    )


def picture_root(storage: Storage, pipeline: Pipeline) -> "Path":
    """The folder a data set's picture paths begin at."""
    from cir_assets.datasets.sources import read_annotations

    return read_annotations(pipeline.graph.source, storage.raw(pipeline.graph.dataset)).picture_root


def _relative(storage: Storage, folder: "Path") -> str:
    """Relative to the storage folder where it lies in it, so that the whole folder may be moved."""
    return str(folder.relative_to(storage.root) if folder.is_relative_to(storage.root) else folder.absolute())
