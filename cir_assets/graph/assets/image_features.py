"""``…/image_features``: every picture encoded once, cached in DuckDB by content."""

import dagster as dg

from cir_assets.graph.columns import column_schema
from cir_assets.graph.step import step_asset
from cir_assets.models.stages import TEXT_ENCODER
from cir_assets.pipeline.checks import FEATURES_FINITE, PICTURES_DECODE
from cir_assets.pipeline.encoding import image_features_step, tuned_image_features_step
from cir_assets.pipeline.identity import EncodedDataset, Pipeline, backbone_name
from cir_assets.pipeline.step import Step
from cir_assets.store.contracts import IMAGE_FEATURES


def image_features_asset(encoded: EncodedDataset) -> dg.AssetsDefinition:
    """The feature cache of one data set under one backbone as it came."""
    return _features_asset(
        encoded,
        encoded,
        image_features_step(encoded),
        backbone_name(encoded.backbone),
        f"Raw (un-normalised) image features of `{encoded.backbone}`, one row a distinct picture content, "
        f"preprocessing and backbone, in table `image_features` of "
        f"`storage/features/{encoded.data.dataset}/{encoded.backbone}.duckdb`. Only pictures not yet there are "
        "encoded; pictures that do not decode, and those that could not be read this time, which are tried again "
        "in the next run, are rows of `data_issues` and left out.",
    )


def tuned_image_features_asset(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The feature cache of one pipeline whose stage 1 changed the image encoder."""
    return _features_asset(
        pipeline,
        pipeline.encoded,
        tuned_image_features_step(pipeline),
        pipeline.model_name(TEXT_ENCODER),
        "Raw image features of the image encoder that stage 1 tuned, one row a distinct picture content, in "
        f"table `image_features` of `storage/features/{'/'.join(pipeline.place)}.duckdb`.",
    )


def _features_asset(
    of: EncodedDataset | Pipeline, encoded: EncodedDataset, step: Step, weights: str, description: str
) -> dg.AssetsDefinition:
    """Features of a data set's pictures under the image encoder that the step ``weights`` makes."""
    return step_asset(
        step,
        deps=[encoded.data.name("images"), weights],
        of=of,
        kinds={"duckdb", "torch"},
        pool="gpu",
        checks=[FEATURES_FINITE, PICTURES_DECODE],
        columns=column_schema(IMAGE_FEATURES),
        description=description,
    )
