"""``…/image_features``: every picture encoded once, cached in DuckDB by content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cir_assets.models.files import weights_version
from cir_assets.models.stages import TEXT_ENCODER
from cir_assets.pipeline.backbones import install_on_first_use
from cir_assets.pipeline.checks import FEATURES_FINITE, PICTURES_DECODE
from cir_assets.pipeline.given_features import given_versions, require_pictures, take_features
from cir_assets.pipeline.identity import EncodedDataset, Pipeline, backbone_name
from cir_assets.pipeline.inputs import load_backbone, model_folder
from cir_assets.pipeline.step import Plan, Step, Work
from cir_assets.store.contracts import DATA_ISSUES, IMAGES
from cir_assets.store.digests import digest, digest_array
from cir_assets.store.made import Made, NotMade, versions_of
from cir_assets.store.tables import read_table, write_table

if TYPE_CHECKING:
    from cir_assets.models.backbone import Backbone
    from cir_assets.store.feature_cache import FeatureCache

GENERATION = 3

CHANGED = "it changed since it was scanned"


@dataclass(frozen=True)
class Encoder:
    """An image encoder, loaded only when there is something to encode, and where its features are kept."""

    version: str
    load: Callable[[], Backbone]
    cache: Path
    issues: str
    """Name of its file in ``data_issues``."""
    as_it_came: bool = True
    """Whether it is the backbone's own, whose features may be given."""


def image_features_step(encoded: EncodedDataset) -> Step:
    """The features of a data set under one backbone as it came."""

    def encoder(work: Work) -> Encoder:
        [version] = versions_of(work.storage, backbone_name(encoded.backbone)).values()
        cache = work.storage.features(encoded.data.dataset, encoded.backbone)
        return Encoder(version, lambda: load_backbone(work, encoded), cache, encoded.backbone)

    weights = backbone_name(encoded.backbone)
    return _features_step(encoded, encoded.name("image_features"), weights, encoder)


def tuned_image_features_step(pipeline: Pipeline) -> Step:
    """The features of a data set under the image encoder that a pipeline's stage 1 tuned."""

    def encoder(work: Work) -> Encoder:
        return tuned_encoder(work, pipeline, model_folder(work, pipeline, TEXT_ENCODER))

    weights = pipeline.model_name(TEXT_ENCODER)
    return _features_step(pipeline.encoded, pipeline.name("image_features"), weights, encoder)


def tuned_encoder(work: Work, pipeline: Pipeline, text_encoder: Path) -> Encoder:
    """The image encoder that stage 1 tuned, as saved in the folder ``text_encoder``."""
    from cir_assets.models.saving import load_text_encoder

    def tuned() -> Backbone:
        backbone = load_backbone(work, pipeline.encoded)
        load_text_encoder(text_encoder, backbone)
        return backbone

    issues = f"{pipeline.encoded.backbone}_{pipeline.recipe_name}"
    cache = work.storage.tuned_features(*pipeline.place)
    return Encoder(weights_version(text_encoder), tuned, cache, issues, as_it_came=False)


def _features_step(
    encoded: EncodedDataset, name: str, weights: str, encoder: Callable[[Work], Encoder]
) -> Step:
    """Features of a data set's pictures under the image encoder that the step ``weights`` makes."""

    def plan(work: Work) -> Plan:
        install_on_first_use(work, encoded.backbone, encoded.settings)
        versions = versions_of(work.storage, encoded.data.name("images"), weights)
        versions |= given_versions(encoded.data.source)
        return Plan(versions, lambda _: encode_missing(work, encoded, encoder(work)))

    configuration = {
        "backbone": encoded.settings.model_dump(mode="json"),
        "pixel_limit": encoded.data.pixel_limit,
        "reading": encoded.data.source.reading,
    }
    return Step(name, GENERATION, plan, configuration)


def encode_missing(work: Work, encoded: EncodedDataset, encoder: Encoder) -> Made:
    """Encode what the cache lacks, in batches decoded ahead, and check the whole matrix."""
    from cir_assets.models.shape import backbone_shape
    from cir_assets.pictures.opening import judged_by
    from cir_assets.pictures.preparing import preprocessing_name
    from cir_assets.store.feature_cache import FeatureCache

    data, settings = encoded.data, encoded.settings
    tables = work.storage.tables(data.dataset)
    images = read_table(tables, IMAGES).unique("image_key", keep="first", maintain_order=True)
    shape = backbone_shape(work.storage.backbone(encoded.backbone))
    preprocessing = preprocessing_name(
        shape.resolution, settings.padding, settings.target_ratio, data.source.reading
    )
    cache = FeatureCache(encoder.cache)
    keys = images["image_key"].to_list()
    given = 0
    if encoder.as_it_came:
        given = take_features(encoded, images, cache, preprocessing, encoder.version, shape.feature_dimension)
    else:
        require_pictures(images, data.dataset)
    missing = cache.missing(keys, preprocessing, encoder.version, judged_by(data.pixel_limit))
    if missing:
        to_encode = images.filter(pl.col("image_key").is_in(missing))
        encode(work, encoded, to_encode, cache, preprocessing, encoder)
    left_out = cache.not_encoded(keys, preprocessing, encoder.version)
    readable = images.filter(~pl.col("image_key").is_in(list(left_out)))
    issues = pl.DataFrame(
        [
            {
                "kind": "picture_not_read_now" if left_out[key].passing else "undecodable_picture",
                "subject": image,
                "detail": left_out[key].reason,
            }
            for image, key in images.select("image", "image_key").iter_rows()
            if key in left_out
        ],
        schema=DATA_ISSUES.schema,
    )
    write_table(issues, tables, DATA_ISSUES, of=encoder.issues)
    undecodable = issues.filter(kind="undecodable_picture").height
    not_read = issues.filter(kind="picture_not_read_now").height
    changed = issues.filter(detail=CHANGED).height
    known_before = images.height - len(missing)
    work.say(
        f"{len(missing):,} pictures encoded, {known_before:,} already known, {undecodable:,} do not decode, "
        f"{not_read:,} could not be read now, of which {changed:,} changed since they were scanned"
    )
    share = data.hold_when_pictures_shrink_by
    if not_read > share * images.height or (not_read and readable.is_empty()):
        _, first, why = issues.filter(kind="picture_not_read_now").row(0)
        raise NotMade(
            f"{not_read:,} of {images.height:,} pictures could not be read now (the first is {first}: {why}), more "
            f"than hold_when_pictures_shrink_by: {share:g} lets go; see that the folder is there and may be read, and "
            f"materialize again; where they are gone for good, materialize {data.name('raw')} first"
        )
    features = cache.matrix(readable["image_key"].to_list(), preprocessing, encoder.version)
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
            "already_known": known_before,
            **({"taken_from_files": given} if given else {}),
            "undecodable": undecodable,
            "not_read_now": not_read,
            "changed_since_scanned": changed,
            "dimension": shape.feature_dimension,
            "preprocessing": preprocessing,
            "database": {"path": str(cache.path)},
        },
        checks=FEATURES_FINITE(features, shape.feature_dimension)
        | PICTURES_DECODE(undecodable, not_read, images.height),
        grown=[cache.path],
        unworked={"encoded": 0, "already_known": images.height},
        complete=not not_read,
    )


def encode(
    work: Work,
    encoded: EncodedDataset,
    images: pl.DataFrame,
    cache: FeatureCache,
    preprocessing: str,
    encoder: Encoder,
) -> None:
    """Encode pictures and add them to the cache as they come; a killed run keeps what it added.

    A feature is kept under the key of the bytes it was made from, and only where that is the picture's own.
    """
    from cir_assets.pictures.decoding import decoded_batches
    from cir_assets.pictures.opening import judged_by

    data, settings = encoded.data, encoded.settings
    backbone = encoder.load()
    root = data.source.picture_root(work.storage.raw(data.dataset))
    keys = images["image_key"].to_list()
    with (
        work.progress("encode pictures", len(keys), "pictures") as progress,
        cache.writing(
            preprocessing, encoder.version, backbone.feature_dimension, judged_by(data.pixel_limit)
        ) as rows,
    ):
        for batch in decoded_batches(
            [root / path for path in images["path"]],
            resolution=backbone.resolution,
            padding=settings.padding,
            target_ratio=settings.target_ratio,
            reading=data.source.reading,
            batch_size=data.encoding_batch_size,
            workers=data.decoding_workers,
            pixel_limit=data.pixel_limit,
            on_encoders_cores=backbone.device.type == "cpu",
        ):
            expected = [keys[row] for row in batch.rows]
            same = np.array(
                [key == read for key, read in zip(expected, batch.image_keys, strict=True)], dtype=bool
            )
            if same.any():
                pixels = batch.pixels if same.all() else batch.pixels[same]
                rows.add(
                    [key for key, kept in zip(expected, same, strict=True) if kept],
                    backbone.encode_images(pixels).cpu().numpy(),
                )
            for key, kept in zip(expected, same, strict=True):
                if not kept:
                    rows.not_read_now(key, CHANGED)
            for failure in batch.failures:
                key = keys[failure.row]
                if failure.passing:
                    rows.not_read_now(key, failure.reason)
                elif failure.image_key != key:
                    rows.not_read_now(key, CHANGED)
                else:
                    rows.unreadable(key, failure.reason)
            progress.advance(len(batch.rows) + len(batch.failures))
