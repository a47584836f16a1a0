"""Every step of pipelines in an order they can be made in: from a data set's files to the leaderboard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cir_assets.models.settings import ReferenceCheckpoints, ZeroShot
from cir_assets.pipeline.backbones import backbone_step
from cir_assets.pipeline.brought_ranking import brought_ranking_step
from cir_assets.pipeline.checkpoints import checkpoint_step
from cir_assets.pipeline.encoding import image_features_step, tuned_image_features_step
from cir_assets.pipeline.evaluation import evaluation_step
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.judging import challenger_step, champion_step
from cir_assets.pipeline.publication import leaderboard_step
from cir_assets.pipeline.report import report_step
from cir_assets.pipeline.searching import search_step
from cir_assets.pipeline.source import raw_step
from cir_assets.pipeline.step import Step
from cir_assets.pipeline.tables import images_step, triplets_step
from cir_assets.pipeline.training import combiner_step, text_encoder_step
from cir_assets.training.settings import Recipe


def steps_of(pipelines: Sequence[Pipeline]) -> list[Step]:
    """The steps of some pipelines, each once and after those it is made from, the leaderboard last."""
    steps = [step for pipeline in pipelines for step in _steps(pipeline)]
    return [*{step.name: step for step in steps}.values(), leaderboard_step(pipelines)]


def _steps(pipeline: Pipeline) -> Iterator[Step]:
    encoded = pipeline.encoded
    yield backbone_step(encoded.backbone, encoded.settings)
    yield raw_step(pipeline.data)
    yield images_step(pipeline.data)
    yield triplets_step(pipeline.data)
    yield from map(brought_ranking_step, pipeline.data.brought)
    yield image_features_step(encoded)
    if not isinstance(pipeline.recipe, ZeroShot):
        yield from _model_steps(pipeline)
        yield evaluation_step(pipeline)
        yield challenger_step(pipeline)
        yield report_step(pipeline)
        yield champion_step(pipeline)
    yield search_step(pipeline)


def _model_steps(pipeline: Pipeline) -> Iterator[Step]:
    recipe = pipeline.recipe
    if isinstance(recipe, ReferenceCheckpoints):
        for model in pipeline.models:
            yield checkpoint_step(pipeline, model, getattr(recipe, model))
    if isinstance(recipe, Recipe):
        yield text_encoder_step(pipeline, recipe.text_encoder)
    if pipeline.tunes_images:
        yield tuned_image_features_step(pipeline)
    if isinstance(recipe, Recipe):
        yield combiner_step(pipeline, recipe.combiner, frozen_clip=True)
        yield combiner_step(pipeline, recipe.combiner, frozen_clip=False)
