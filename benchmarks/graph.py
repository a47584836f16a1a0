"""The graph itself: ``make demo``'s work through Dagster, and the same library calls in one process without it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch
import yaml

from benchmarks.measuring import Measured, Scale, apart, once
from cir_assets.assets.evaluation import CURVES, EVALUATED, evaluate_method
from cir_assets.assets.inputs import PipelineInputs
from cir_assets.assets.ladder import method_queries
from cir_assets.assets.pipeline import Pipeline
from cir_assets.assets.tables import write_table
from cir_assets.assets.triplets import split_by_pictures
from cir_assets.components.dataset import DatasetSpec
from cir_assets.components.graph import pipelines_of
from cir_assets.datasets.pictures import scan_pictures
from cir_assets.models.backbone import Backbone
from cir_assets.models.decoding import decoded_batches
from cir_assets.models.installation import EMBEDDED
from cir_assets.models.saving import save_combiner, save_text_encoder
from cir_assets.models.settings import BackboneSettings
from cir_assets.reporting.inputs import ReportInputs
from cir_assets.reporting.leaderboard import write_leaderboard
from cir_assets.reporting.pictures import write_contact_sheet
from cir_assets.reporting.report import write_report
from cir_assets.resources import Storage
from cir_assets.store.feature_cache import FeatureCache
from cir_assets.store.publishing import publish, published
from cir_assets.store.results import write_results
from cir_assets.training.combiner import train_combiner
from cir_assets.training.settings import Recipe
from cir_assets.training.text_encoder import train_text_encoder
from tests.trial_project import TrialProject

TITLE = "the graph: from nothing to the report"

WARDROBE = Path(__file__).parent.parent / "cir_assets" / "defs" / "wardrobe" / "defs.yaml"


def attributes(size: int) -> dict[str, Any]:
    """The embedded data set's own YAML at another size, the recipe of ``make demo`` alone."""
    found: dict[str, Any] = yaml.safe_load(WARDROBE.read_text(encoding="utf-8"))["attributes"]
    return {
        "source": {**found["source"], "size": size},
        "protocols": found["protocols"],
        "backbones": found["backbones"],
        "recipes": {"small": found["recipes"]["small"]},
    }


def by_the_graph(folder: Path, size: int) -> None:
    """``cir-assets demo`` on a fresh storage."""
    project = TrialProject(folder)
    project.write_dataset("wardrobe", **attributes(size), device="auto")
    subprocess.run(
        [
            *(str(Path(sys.executable).with_name("cir-assets")), "demo"),
            *("--module", f"{project.package}.definitions"),
        ],
        cwd=folder,
        env={**os.environ, "DAGSTER_HOME": str(project.storage.root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def by_hand(folder: Path, size: int) -> None:
    """The same work as library calls, one after another in this process; nothing is kept that nothing reads."""
    storage = Storage(folder=str(folder))
    spec = DatasetSpec.model_validate(attributes(size))
    embedded = BackboneSettings.model_validate({"kind": "embedded", "place": "tiny_clip"})
    [pipeline] = pipelines_of("wardrobe", spec, {"tiny_clip": embedded})
    recipe = pipeline.recipe
    assert isinstance(recipe, Recipe)
    raw, tables = storage.raw("wardrobe"), storage.tables("wardrobe")
    spec.source.prepare(raw)
    annotations = spec.source.read(raw)
    images, _, _ = scan_pictures(annotations.pictures, annotations.picture_root)
    triplets, _ = split_by_pictures(annotations.triplets, images)
    write_table(images, tables, "images")
    write_table(annotations.galleries, tables, "galleries")
    write_table(triplets, tables, "triplets")
    backbone = Backbone.load(EMBEDDED / "tiny_clip")
    inputs = encoded(
        storage, pipeline, backbone, images, annotations.picture_root, annotations.galleries, triplets
    )
    protocol = pipeline.graph.protocols[0]
    validation = inputs.validation(protocol)
    folders = {name: storage.models(*pipeline.place, name) / "v1" for name in pipeline.models}
    for place in folders.values():
        place.mkdir(parents=True)
    train = inputs.training_triplets()
    epochs = []
    for name in ("combiner_frozen_clip", "text_encoder", "combiner"):
        checkpoints = folders[name] / "checkpoints"
        if name == "text_encoder":
            outcome = train_text_encoder(
                backbone, inputs.features, train, validation, recipe.text_encoder, checkpoints
            )
            save_text_encoder(folders[name], backbone, {})
        else:
            network, outcome = train_combiner(
                backbone, inputs.features, train, validation, recipe.combiner, checkpoints
            )
            save_combiner(folders[name], network, {})
        epochs += [{**asdict(record), "stage": name} for record in outcome.epochs]
    curves = pl.DataFrame(epochs).with_columns(
        dataset=pl.lit("wardrobe"), backbone=pl.lit("tiny_clip"), recipe=pl.lit("small"), version=pl.lit("v1")
    )
    finish(storage, pipeline, inputs, folders, annotations.picture_root, curves)


def encoded(
    storage: Storage,
    pipeline: Pipeline,
    backbone: Backbone,
    images: pl.DataFrame,
    root: Path,
    galleries: pl.DataFrame,
    triplets: pl.DataFrame,
) -> PipelineInputs:
    """Every distinct picture encoded into the cache, and read back as training's inputs."""
    distinct = images.unique("image_key", keep="first", maintain_order=True)
    keys = distinct["image_key"].to_list()
    cache = FeatureCache(storage.features("wardrobe", "tiny_clip"))
    with cache.writing("targetpad", "v1", backbone.feature_dimension) as rows:
        for batch in decoded_batches(
            [root / path for path in distinct["path"]],
            resolution=backbone.resolution,
            batch_size=pipeline.graph.encoding_batch_size,
            workers=pipeline.graph.decoding_workers,
            on_encoders_cores=backbone.device.type == "cpu",
        ):
            rows.add([keys[row] for row in batch.rows], backbone.encode_images(batch.pixels).numpy())
    matrix = cache.matrix(images["image_key"].to_list(), "targetpad", "v1")
    return PipelineInputs(galleries, triplets, images.select("image", "image_key"), torch.from_numpy(matrix))


def finish(
    storage: Storage,
    pipeline: Pipeline,
    inputs: PipelineInputs,
    folders: dict[str, Path],
    root: Path,
    curves: pl.DataFrame,
) -> None:
    """Evaluation of six methods, results, report, published tables and leaderboard."""
    asked = {
        (split, protocol): inputs.query_groups(protocol, split)
        for split in inputs.splits_with_targets()
        for protocol in pipeline.graph.protocols
    }
    # The backbone as it came: stage 1 changed the one it was given.
    backbone = Backbone.load(EMBEDDED / "tiny_clip")
    frames = [
        evaluate_method(pipeline, queries, "v1", "by hand")
        for queries in method_queries(storage, pipeline, backbone, inputs, asked, pipeline.methods, folders)
    ]
    found = {table: pl.concat([frame[table] for frame in frames]) for table in EVALUATED}
    results = storage.results(*pipeline.place)
    write_results(results, {**found, "training_epochs": curves.select(CURVES.names()).cast(CURVES)})
    paths = dict(
        pl.read_parquet(storage.tables("wardrobe") / "images.parquet").select("image", "path").iter_rows()
    )
    report = ReportInputs(
        dataset="wardrobe",
        backbone="tiny_clip",
        recipe="small",
        evaluations=found["evaluations"],
        metrics=found["metrics"],
        rankings=found["rankings"],
        retrieved=found["retrieved"],
        training_epochs=curves.select(CURVES.names()).cast(CURVES),
        picture_path=lambda image: root / paths[image],
        galleries=inputs.galleries,
        sheet_protocol=pipeline.graph.protocols[0],
    )
    folder = storage.report(*pipeline.place)
    write_report(report, folder)
    write_contact_sheet(report, folder / "contact_sheet.png")
    publish([results], {"wardrobe": storage.tables("wardrobe")}, storage.evaluation)
    with published(storage.evaluation) as connection:
        write_leaderboard(connection, storage.reports)


def run(scale: Scale) -> Iterator[Measured]:
    """Wardrobes of the least size, of ten and a hundred times that, and of the demo's."""
    for size in scale.sizes(1_000, 10_000, 15_000, 100_000):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            ours = once(partial(by_the_graph, folder / "graph", size))
            hand = once(partial(apart, by_hand, folder / "hand", size))
            yield Measured(
                "cir-assets demo",
                f"wardrobe of {size:,} pictures",
                size,
                ours,
                hand.median,
                "the same calls in one process, without Dagster",
                goal="1.25 × those calls" if size == 15_000 else "",
                reached=ours.median <= 1.25 * hand.median if size == 15_000 else None,
                figures={"seconds over them": ours.median - hand.median},
            )
