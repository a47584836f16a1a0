"""``…/image_features``: every picture encoded once, cached in DuckDB by content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cir_assets.pipeline.backbones import install_on_first_use
from cir_assets.pipeline.checks import FEATURES_FINITE, PICTURES_DECODE
from cir_assets.pipeline.identity import EncodedDataset, Pipeline, backbone_name
from cir_assets.pipeline.inputs import installed_backbone, model_folder, weights_version
from cir_assets.pipeline.step import Plan, Step, Work
from cir_assets.store.digests import digest, digest_array
from cir_assets.store.made import Made, versions_of
from cir_assets.store.tables import read_table, write_table

if TYPE_CHECKING:
    from cir_assets.models.backbone import Backbone
    from cir_assets.store.feature_cache import FeatureCache

GENERATION = 2


@dataclass(frozen=True)
class Encoder:
    """An image encoder, loaded only when there is something to encode, and where its features are kept."""

    version: str
    load: Callable[[], Backbone]
    cache: Path
    issues: str
    """Name of its file in ``data_issues``."""


def image_features_step(encoded: EncodedDataset) -> Step:
    """The features of a data set under one backbone as it came."""

    def encoder(work: Work) -> Encoder:
        [version] = versions_of(work.storage, backbone_name(encoded.backbone)).values()
        cache = work.storage.features(encoded.data.dataset, encoded.backbone)
        return Encoder(version, lambda: installed_backbone(work, encoded), cache, encoded.backbone)

    weights = backbone_name(encoded.backbone)
    return _features_step(encoded, encoded.name("image_features"), weights, encoder)


def tuned_image_features_step(pipeline: Pipeline) -> Step:
    """The features of a data set under the image encoder that a pipeline's stage 1 tuned."""

    def encoder(work: Work) -> Encoder:
        return tuned_encoder(work, pipeline, model_folder(work, pipeline, "text_encoder"))

    weights = pipeline.model_name("text_encoder")
    return _features_step(pipeline.encoded, pipeline.name("image_features"), weights, encoder)


def tuned_encoder(work: Work, pipeline: Pipeline, text_encoder: Path) -> Encoder:
    """The image encoder that stage 1 tuned, as saved in the folder ``text_encoder``."""
    from cir_assets.models.saving import load_text_encoder

    def tuned() -> Backbone:
        backbone = installed_backbone(work, pipeline.encoded)
        load_text_encoder(text_encoder, backbone)
        return backbone

    issues = f"{pipeline.encoded.backbone}_{pipeline.recipe_name}"
    cache = work.storage.tuned_features(*pipeline.place)
    return Encoder(weights_version(text_encoder), tuned, cache, issues)


def _features_step(
    encoded: EncodedDataset, name: str, weights: str, encoder: Callable[[Work], Encoder]
) -> Step:
    """Features of a data set's pictures under the image encoder that the step ``weights`` makes."""

    def plan(work: Work) -> Plan:
        install_on_first_use(work, encoded.backbone, encoded.settings)
        versions = versions_of(work.storage, encoded.data.name("images"), weights)
        return Plan(versions, lambda _: encode_missing(work, encoded, encoder(work)))

    return Step(name, GENERATION, plan, {"backbone": encoded.settings.model_dump(mode="json")})


def encode_missing(work: Work, encoded: EncodedDataset, encoder: Encoder) -> Made:
    """Encode what the cache lacks, in batches decoded ahead, and check the whole matrix."""
    from cir_assets.models.installation import backbone_shape
    from cir_assets.pictures.preparing import preprocessing_name
    from cir_assets.store.feature_cache import FeatureCache

    data, settings = encoded.data, encoded.settings
    tables = work.storage.tables(data.dataset)
    images = read_table(tables, "images").unique("image_key", keep="first", maintain_order=True)
    shape = backbone_shape(work.storage.backbone(encoded.backbone))
    preprocessing = preprocessing_name(shape.resolution, settings.padding, settings.target_ratio)
    cache = FeatureCache(encoder.cache)
    known_before = images.height
    missing = cache.missing(images["image_key"].to_list(), preprocessing, encoder.version)
    if missing:
        to_encode = images.filter(pl.col("image_key").is_in(missing))
        encode(work, encoded, to_encode, cache, preprocessing, encoder)
    unreadable = cache.unreadable(images["image_key"].to_list(), preprocessing)
    readable = images.filter(~pl.col("image_key").is_in(list(unreadable)))
    features = cache.matrix(readable["image_key"].to_list(), preprocessing, encoder.version)
    issues = pl.DataFrame(
        [
            {"kind": "undecodable_picture", "subject": image, "detail": unreadable[key]}
            for image, key in images.select("image", "image_key").iter_rows()
            if key in unreadable
        ],
        schema={"kind": pl.String, "subject": pl.String, "detail": pl.String},
    )
    write_table(issues, tables, f"data_issues/{encoder.issues}")
    work.say(
        f"{len(missing):,} pictures encoded, {known_before - len(missing):,} already known, "
        f"{issues.height:,} do not decode"
    )
    return Made(
        data_version=digest(
            {
                "keys": digest(readable["image_key"].to_list()),
                "features": digest_array(features),
                "preprocessing": preprocessing,
            }
        ),
        metadata={
            "dagster/row_count": readable.height,
            "encoded": len(missing),
            "already_known": known_before - len(missing),
            "undecodable": issues.height,
            "dimension": shape.feature_dimension,
            "preprocessing": preprocessing,
            "database": {"path": str(cache.path)},
        },
        checks=FEATURES_FINITE(features, shape.feature_dimension)
        | PICTURES_DECODE(issues.height, images.height),
        grown=[cache.path],
        unworked={"encoded": 0, "already_known": known_before},
    )


def encode(
    work: Work,
    encoded: EncodedDataset,
    images: pl.DataFrame,
    cache: FeatureCache,
    preprocessing: str,
    encoder: Encoder,
) -> None:
    """Encode pictures and add them to the cache as they come; a killed run keeps what it added."""
    from cir_assets.datasets.sources import read_annotations
    from cir_assets.pictures.decoding import decoded_batches

    data, settings = encoded.data, encoded.settings
    backbone = encoder.load()
    root = read_annotations(data.source, work.storage.raw(data.dataset)).picture_root
    keys = images["image_key"].to_list()
    with (
        work.progress("encode pictures", len(keys), "pictures") as progress,
        cache.writing(preprocessing, encoder.version, backbone.feature_dimension) as rows,
    ):
        for batch in decoded_batches(
            [root / path for path in images["path"]],
            resolution=backbone.resolution,
            padding=settings.padding,
            target_ratio=settings.target_ratio,
            batch_size=data.encoding_batch_size,
            workers=data.decoding_workers,
            pixel_limit=data.pixel_limit,
            on_encoders_cores=backbone.device.type == "cpu",
        ):
            if len(batch.rows):
                features = backbone.encode_images(batch.pixels).cpu().numpy()
                rows.add([keys[row] for row in batch.rows], features)
            for row, reason in batch.failures:
                rows.unreadable(keys[row], reason)
            progress.advance(len(batch.rows) + len(batch.failures))
