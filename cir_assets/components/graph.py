"""From a data set's YAML to its part of the graph: assets, checks, job and schedule."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from cir_assets.assets.combiner import combiner_asset
from cir_assets.assets.evaluation import evaluation_asset
from cir_assets.assets.image_features import image_features_asset
from cir_assets.assets.images import images_asset
from cir_assets.assets.pipeline import DatasetGraph, EncodedDataset, Pipeline
from cir_assets.assets.raw import raw_asset
from cir_assets.assets.report import report_asset
from cir_assets.assets.text_encoder import text_encoder_asset
from cir_assets.assets.triplets import triplets_asset
from cir_assets.automation import refresh_schedule
from cir_assets.components.dataset import DatasetSpec
from cir_assets.models.settings import BackboneSettings


def pipelines_of(name: str, spec: DatasetSpec, backbones: Mapping[str, BackboneSettings]) -> list[Pipeline]:
    """Every combination of backbone and recipe a data set asks for."""
    graph = DatasetGraph(
        dataset=name,
        source=spec.source,
        protocols=tuple(spec.protocols),
        owners=tuple(spec.owners),
        device=spec.device,
        encoding_batch_size=spec.encoding_batch_size,
        decoding_workers=spec.decoding_workers,
        pixel_limit=spec.pixel_limit,
    )
    return [
        Pipeline(EncodedDataset(graph, backbone, backbones[backbone]), recipe_name, recipe)
        for backbone in spec.backbones
        for recipe_name, recipe in spec.recipes.items()
    ]


def dataset_definitions(
    name: str, spec: DatasetSpec, backbones: Mapping[str, BackboneSettings]
) -> dg.Definitions:
    """The assets of one data set, a job that makes them all, and its schedule."""
    pipelines = pipelines_of(name, spec, backbones)
    graph = pipelines[0].graph
    assets = [raw_asset(graph), images_asset(graph), triplets_asset(graph)]
    for encoded in dict.fromkeys(pipeline.encoded for pipeline in pipelines):
        assets.append(image_features_asset(encoded))
    for pipeline in pipelines:
        assets += [
            text_encoder_asset(pipeline),
            combiner_asset(pipeline, frozen_clip=True),
            combiner_asset(pipeline, frozen_clip=False),
            evaluation_asset(pipeline),
            report_asset(pipeline),
        ]
    schedules = (
        [refresh_schedule(name, spec.schedule.cron, spec.schedule.timezone, [graph.key("raw")])]
        if spec.schedule
        else []
    )
    job = dg.define_asset_job(
        f"{name}_whole",
        selection=dg.AssetSelection.groups(name),
        description=f"Makes everything of {name} in one run; what is there already costs seconds.",
    )
    return dg.Definitions(assets=assets, schedules=schedules, jobs=[job])
