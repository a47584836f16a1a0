"""``…/<recipe>/search``: what the search server reads, for the champion and the gallery of today."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cir_assets.models.stages import TEXT_ENCODER
from cir_assets.pipeline.checks import GALLERY_SEARCHABLE
from cir_assets.pipeline.encoding import encode_missing, tuned_encoder
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.inputs import PipelineInputs, load_backbone, load_inputs, load_tuned
from cir_assets.pipeline.judging import model_folders
from cir_assets.pipeline.step import Plan, Step, Work
from cir_assets.retrieval.methods import SPHERICAL
from cir_assets.store.digests import digest, digest_array, digest_frame
from cir_assets.store.made import Made, versions_of
from cir_assets.store.promotions import PromotionLog
from cir_assets.store.tables import read_table

EXAMPLES = 24
"""Queries of val with known answers, offered to be tried."""


def search_step(pipeline: Pipeline) -> Step:
    """The export of one pipeline for searching."""
    settings = pipeline.encoded.settings

    def plan(work: Work) -> Plan:
        champion = PromotionLog(work.storage.promotions(*pipeline.place)).reign()
        versions = versions_of(work.storage, *searched_in(pipeline))
        versions["champion"] = champion.digest if champion else "none"
        return Plan(versions, lambda version: make_export(work, pipeline, version))

    configuration = {
        "padding": settings.padding,
        "target_ratio": settings.target_ratio,
        "pixel_limit": pipeline.data.pixel_limit,
        "share_without_val": settings.share_without_val,
    }
    return Step(pipeline.name("search"), 3, plan, configuration)


def searched_in(pipeline: Pipeline) -> list[str]:
    """The steps that make the gallery and its features."""
    data = pipeline.data
    return [data.name("images"), data.name("triplets"), pipeline.encoded.name("image_features")]


def make_export(work: Work, pipeline: Pipeline, version: str) -> Made:
    """Write a version of what search reads, and make it the current one."""
    from cir_assets.serving.export import Exported, export

    data, settings = pipeline.data, pipeline.encoded.settings
    log = PromotionLog(work.storage.promotions(*pipeline.place))
    champion = log.reign()
    models = champion.models if champion else {}
    folders = {name.rpartition("/")[2]: folder for name, folder in model_folders(work, models).items()}
    backbone = load_backbone(work, pipeline.encoded)
    inputs = load_inputs(work, pipeline.encoded, backbone)
    if TEXT_ENCODER in folders:
        if pipeline.tunes_images:
            encode_missing(work, pipeline.encoded, tuned_encoder(work, pipeline, folders[TEXT_ENCODER]))
        inputs = load_tuned(work, pipeline, backbone, inputs, folders[TEXT_ENCODER])
    features = inputs.features.cpu().numpy()
    pictures = gallery_pictures(work, data.dataset, inputs)
    examples = example_queries(inputs)
    reign = log.reigns().row(-1, named=True) if champion else None
    destination = export(
        work.storage.search(*pipeline.place),
        version,
        Exported(
            dataset=data.dataset,
            backbone=pipeline.encoded.backbone,
            recipe=pipeline.recipe_name,
            method=champion.method if champion else SPHERICAL.name,
            share=champion.share if champion else settings.share_without_val,
            champion=reign["challenger"] if reign else None,
            champion_since=reign["decided_at"].isoformat(timespec="seconds") if reign else None,
            headline=reign["challenger_headline"] if reign else None,
            models={model: _relative(work, folder) for model, folder in folders.items()},
            backbone_folder=_relative(work, work.storage.backbone(pipeline.encoded.backbone)),
            picture_root=_relative(work, data.source.picture_root(work.storage.raw(data.dataset))),
            padding=settings.padding,
            target_ratio=settings.target_ratio,
            pixel_limit=data.pixel_limit,
        ),
        features,
        pictures,
        examples,
    )
    return Made(
        data_version=digest(
            [
                champion.digest if champion else "none",
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
        checks=GALLERY_SEARCHABLE(pictures.height),
        files=sorted(destination.iterdir()),
    )


def gallery_pictures(work: Work, dataset: str, inputs: PipelineInputs) -> pl.DataFrame:
    """image, path, category and image_key of every picture with a feature, in the features' order."""
    paths = read_table(work.storage.tables(dataset), "images").select("image", "path")
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


def _relative(work: Work, folder: Path) -> str:
    """Relative to the storage folder where it lies in it, so that the whole folder may be moved."""
    return str(
        folder.relative_to(work.storage.root)
        if folder.is_relative_to(work.storage.root)
        else folder.absolute()
    )
