"""``<dataset>/<backbone>/image_features``: every picture encoded once, cached in DuckDB by content."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from cir_assets.assets.backbone import ensure_installed
from cir_assets.assets.inputs import installed_backbone, model_folder, weights_version
from cir_assets.assets.pipeline import EncodedDataset, Pipeline, backbone_key
from cir_assets.assets.step import Made, Step, content_versions, logged_progress, make_or_reuse
from cir_assets.assets.tables import column_schema, read_table, write_table
from cir_assets.automation import on_upstream_change
from cir_assets.checks import Check, features_finite
from cir_assets.models.stages import TEXT_ENCODER
from cir_assets.resources import Storage
from cir_assets.store.contracts import DATA_ISSUES, IMAGE_FEATURES
from cir_assets.store.ledger import digest, digest_array

if TYPE_CHECKING:
    from cir_assets.models.backbone import Backbone
    from cir_assets.store.feature_cache import FeatureCache

GENERATION = 2


@dataclass(frozen=True)
class Encoder:
    """An image encoder, loaded only when there is something to encode, and where its features are kept."""

    version: str
    load: Callable[[], "Backbone"]
    cache: Path
    issues: str
    """Name of its file in ``data_issues``."""


def image_features_asset(encoded: EncodedDataset) -> dg.AssetsDefinition:
    """The feature cache of one data set under one backbone as it came."""
    name = f"backbones/{encoded.backbone}"

    def encoder(storage: Storage) -> Encoder:
        [version] = content_versions(storage, name).values()
        cache = storage.features(encoded.graph.dataset, encoded.backbone)
        return Encoder(version, lambda: installed_backbone(storage, encoded), cache, encoded.backbone)

    return _features_asset(
        encoded,
        encoded.key("image_features"),
        backbone_key(encoded.backbone),
        encoder,
        f"Raw (un-normalised) image features of `{encoded.backbone}`, one row a distinct picture content, "
        f"preprocessing and backbone, in table `image_features` of "
        f"`storage/features/{encoded.graph.dataset}/{encoded.backbone}.duckdb`. Only pictures not yet there are "
        "encoded; pictures that do not decode are rows of `data_issues` and left out.",
    )


def tuned_image_features_asset(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The feature cache of one pipeline whose stage 1 changed the image encoder."""
    encoded = pipeline.encoded

    def encoder(storage: Storage) -> Encoder:
        return tuned_encoder(storage, pipeline, model_folder(storage, pipeline, TEXT_ENCODER))

    return _features_asset(
        encoded,
        pipeline.key("image_features"),
        pipeline.model_key(TEXT_ENCODER),
        encoder,
        "Raw image features of the image encoder that stage 1 tuned, one row a distinct picture content, in "
        f"table `image_features` of `storage/features/{'/'.join(pipeline.place)}.duckdb`.",
    )


def tuned_encoder(storage: Storage, pipeline: Pipeline, text_encoder: Path) -> Encoder:
    """The image encoder that stage 1 tuned, as saved in the folder ``text_encoder``."""
    from cir_assets.models.saving import load_text_encoder

    def tuned() -> "Backbone":
        backbone = installed_backbone(storage, pipeline.encoded)
        load_text_encoder(text_encoder, backbone)
        return backbone

    issues = f"{pipeline.encoded.backbone}_{pipeline.recipe_name}"
    cache = storage.tuned_features(*pipeline.place)
    return Encoder(weights_version(text_encoder), tuned, cache, issues)


def _features_asset(
    encoded: EncodedDataset,
    key: dg.AssetKey,
    weights: dg.AssetKey,
    encoder: Callable[[Storage], Encoder],
    description: str,
) -> dg.AssetsDefinition:
    """Features of a data set's pictures under the image encoder that the asset ``weights`` makes."""
    graph = encoded.graph
    step = Step(key, GENERATION, {"backbone": encoded.settings.model_dump(mode="json")})

    @dg.asset(
        key=step.key,
        deps=[graph.key("images"), weights],
        group_name=graph.dataset,
        kinds={"duckdb", "torch"},
        owners=list(graph.owners),
        pool="gpu",
        code_version=step.code_version,
        automation_condition=on_upstream_change(),
        check_specs=[
            dg.AssetCheckSpec(
                "features_finite",
                asset=step.key,
                blocking=True,
                description="Every feature is finite, not all zero, and of the backbone's dimension.",
            ),
            dg.AssetCheckSpec("pictures_decode", asset=step.key, description="Every picture decodes whole."),
        ],
        metadata={"dagster/column_schema": column_schema(IMAGE_FEATURES)},
        description=description,
    )
    def image_features(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        ensure_installed(context, storage, encoded.backbone, encoded.settings)
        versions = content_versions(storage, graph.name("images"), "/".join(weights.path))
        return make_or_reuse(
            context,
            storage,
            step,
            versions,
            lambda _: encode_missing(context, storage, encoded, encoder(storage)),
            severity={"pictures_decode": dg.AssetCheckSeverity.WARN},
        )

    return image_features


def encode_missing(
    context: dg.AssetExecutionContext, storage: Storage, encoded: EncodedDataset, encoder: Encoder
) -> Made:
    """Encode what the cache lacks, in batches decoded ahead, and check the whole matrix."""
    from cir_assets.models.installation import backbone_shape
    from cir_assets.models.preprocessing import preprocessing_name
    from cir_assets.store.feature_cache import FeatureCache

    graph, settings = encoded.graph, encoded.settings
    tables = storage.tables(graph.dataset)
    images = read_table(tables, "images").unique("image_key", keep="first", maintain_order=True)
    shape = backbone_shape(storage.backbone(encoded.backbone))
    preprocessing = preprocessing_name(shape.resolution, settings.padding, settings.target_ratio)
    cache = FeatureCache(encoder.cache)
    known_before = images.height
    missing = cache.missing(images["image_key"].to_list(), preprocessing, encoder.version)
    if missing:
        to_encode = images.filter(pl.col("image_key").is_in(missing))
        encode(context, storage, encoded, to_encode, cache, preprocessing, encoder)
    unreadable = cache.unreadable(images["image_key"].to_list(), preprocessing)
    readable = images.filter(~pl.col("image_key").is_in(list(unreadable)))
    features = cache.matrix(readable["image_key"].to_list(), preprocessing, encoder.version)
    issues = pl.DataFrame(
        [
            {"kind": "undecodable_picture", "subject": image, "detail": unreadable[key]}
            for image, key in images.select("image", "image_key").iter_rows()
            if key in unreadable
        ],
        schema=DATA_ISSUES.schema,
    )
    write_table(issues, tables, f"data_issues/{encoder.issues}")
    context.log.info(
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
        checks={
            "features_finite": features_finite(features, shape.feature_dimension),
            "pictures_decode": Check(
                issues.is_empty(), f"{issues.height:,} of {images.height:,} pictures do not decode"
            ),
        },
        files=[cache.path],
        unworked={"encoded": 0, "already_known": known_before},
    )


def encode(
    context: dg.AssetExecutionContext,
    storage: Storage,
    encoded: EncodedDataset,
    images: pl.DataFrame,
    cache: "FeatureCache",
    preprocessing: str,
    encoder: Encoder,
) -> None:
    """Encode pictures and add them to the cache as they come; a killed run keeps what it added."""
    from cir_assets.datasets.sources import read_annotations
    from cir_assets.models.decoding import decoded_batches

    graph, settings = encoded.graph, encoded.settings
    backbone = encoder.load()
    root = read_annotations(graph.source, storage.raw(graph.dataset)).picture_root
    keys = images["image_key"].to_list()
    with (
        logged_progress(context)("encode pictures", len(keys), "pictures") as progress,
        cache.writing(preprocessing, encoder.version, backbone.feature_dimension) as rows,
    ):
        for batch in decoded_batches(
            [root / path for path in images["path"]],
            resolution=backbone.resolution,
            padding=settings.padding,
            target_ratio=settings.target_ratio,
            batch_size=graph.encoding_batch_size,
            workers=graph.decoding_workers,
            pixel_limit=graph.pixel_limit,
            on_encoders_cores=backbone.device.type == "cpu",
        ):
            if len(batch.rows):
                features = backbone.encode_images(batch.pixels).cpu().numpy()
                rows.add([keys[row] for row in batch.rows], features)
            for row, reason in batch.failures:
                rows.unreadable(keys[row], reason)
            progress.advance(len(batch.rows) + len(batch.failures))
