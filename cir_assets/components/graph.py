"""From a data set's YAML to its part of the graph: assets, checks, job and schedule."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from cir_assets.components.specification import DatasetSpec
from cir_assets.graph.assets.brought_ranking import brought_ranking_asset
from cir_assets.graph.assets.champion import challenger_asset, champion_asset
from cir_assets.graph.assets.checkpoints import checkpoint_asset
from cir_assets.graph.assets.combiner import combiner_asset
from cir_assets.graph.assets.evaluation import evaluation_asset
from cir_assets.graph.assets.image_features import image_features_asset, tuned_image_features_asset
from cir_assets.graph.assets.images import images_asset
from cir_assets.graph.assets.raw import raw_asset
from cir_assets.graph.assets.report import report_asset
from cir_assets.graph.assets.search import search_asset
from cir_assets.graph.assets.submission import submission_asset
from cir_assets.graph.assets.text_encoder import text_encoder_asset
from cir_assets.graph.assets.triplets import triplets_asset
from cir_assets.graph.resources import STORAGE
from cir_assets.graph.schedules import refresh_schedule
from cir_assets.graph.sensors.catalogue_files import catalogue_sensor
from cir_assets.models.settings import BackboneSettings, ReferenceCheckpoints, ZeroShot
from cir_assets.models.stages import COMBINER, TEXT_ENCODER
from cir_assets.pipeline.identity import DatasetPlan, EncodedDataset, Pipeline
from cir_assets.training.settings import Recipe


def pipelines_of(name: str, spec: DatasetSpec, backbones: Mapping[str, BackboneSettings]) -> list[Pipeline]:
    """Every combination of backbone and recipe a data set asks for."""
    data = DatasetPlan(
        dataset=name,
        source=spec.source,
        protocols=tuple(spec.protocols),
        owners=tuple(spec.owners),
        device=spec.device,
        encoding_batch_size=spec.encoding_batch_size,
        decoding_workers=spec.decoding_workers,
        pixel_limit=spec.pixel_limit,
        hold_when_pictures_shrink_by=spec.hold_when_pictures_shrink_by,
        promotion=spec.promotion,
        batches=tuple(
            (f"{recipe_name}.{stage}", getattr(recipe, stage).batch_size)
            for recipe_name, recipe in spec.all_recipes.items()
            if isinstance(recipe, Recipe)
            for stage in (TEXT_ENCODER, COMBINER)
        ),
        backbones=tuple(spec.backbones),
        evaluates=not all(isinstance(recipe, ZeroShot) for recipe in spec.all_recipes.values()),
        rankings=tuple(spec.rankings.items()),
        reported=tuple(
            (backbone, recipe_name)
            for backbone in spec.backbones
            for recipe_name, recipe in spec.all_recipes.items()
            if not isinstance(recipe, ZeroShot)
        ),
    )
    return [
        Pipeline(EncodedDataset(data, backbone, backbones[backbone]), recipe_name, recipe)
        for backbone in spec.backbones
        for recipe_name, recipe in spec.all_recipes.items()
    ]


def dataset_definitions(
    name: str, spec: DatasetSpec, backbones: Mapping[str, BackboneSettings]
) -> dg.Definitions:
    """The assets of one data set, a job that makes them all, its schedule, and who watches its files."""
    pipelines = pipelines_of(name, spec, backbones)
    data = pipelines[0].data
    assets = [raw_asset(data), images_asset(data), triplets_asset(data)]
    for encoded in dict.fromkeys(pipeline.encoded for pipeline in pipelines):
        assets.append(image_features_asset(encoded))
    assets += [brought_ranking_asset(brought) for brought in data.brought]
    for pipeline in pipelines:
        assets.append(search_asset(pipeline))
        if isinstance(pipeline.recipe, ZeroShot):
            continue
        assets += [
            *model_assets(pipeline),
            evaluation_asset(pipeline),
            report_asset(pipeline),
            challenger_asset(pipeline),
            champion_asset(pipeline),
        ]
        if spec.source.test_server is not None:
            assets.append(submission_asset(pipeline, spec.source.test_server))
    schedules = (
        [refresh_schedule(name, spec.schedule.cron, spec.schedule.timezone, [data.name("raw")])]
        if spec.schedule
        else []
    )
    job = dg.define_asset_job(
        f"{name}_whole",
        selection=dg.AssetSelection.key_prefixes(name),
        description=f"Makes everything of {name} in one run; what is there already costs seconds.",
    )
    sensors = (
        [catalogue_sensor(data, spec.source.watched, spec.watch_every_seconds)]
        if spec.source.watched is not None
        else []
    )
    return dg.Definitions(assets=assets, schedules=schedules, sensors=sensors, jobs=[job], resources=STORAGE)


def model_assets(pipeline: Pipeline) -> list[dg.AssetsDefinition]:
    """What makes a pipeline's models: trainings, imports, or nothing where another data set trains them."""
    assets = [tuned_image_features_asset(pipeline)] if pipeline.tunes_images else []
    match pipeline.recipe:
        case Recipe() as recipe:
            assets += [
                text_encoder_asset(pipeline, recipe.text_encoder),
                combiner_asset(pipeline, recipe.combiner, frozen_clip=True),
                combiner_asset(pipeline, recipe.combiner, frozen_clip=False),
            ]
        case ReferenceCheckpoints() as checkpoints:
            assets += [
                checkpoint_asset(pipeline, model, getattr(checkpoints, model)) for model in pipeline.models
            ]
    return assets
