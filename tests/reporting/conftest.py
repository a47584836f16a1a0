"""A small pipeline's results, made from a seed: real pictures on disk, real rankings of random features."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, sync_playwright

from cir_assets.reporting.inputs import ReportInputs
from cir_assets.retrieval.methods import METHODS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NOISE = {
    "image_only": 1.8,
    "text_only": 2.8,
    "sum": 1.5,
    "text_encoder_sum": 0.95,
    "combiner_frozen_clip": 1.15,
    "combiner": 0.8,
}
"""Method -> how far its queries are from their targets; any other's are like the sum's."""
EVALUATIONS = pl.Schema(
    {
        "evaluation_id": pl.String(),
        "dataset": pl.String(),
        "backbone": pl.String(),
        "recipe": pl.String(),
        "method": pl.String(),
        "split": pl.String(),
        "protocol": pl.String(),
        "queries": pl.Int32(),
        "gallery_size": pl.Int32(),
        "created_at": pl.Datetime("us"),
    }
)
METRICS = pl.Schema(
    {
        "evaluation_id": pl.String,
        "category": pl.String,
        "metric": pl.String,
        "k": pl.Int32,
        "value": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "gallery_size": pl.Int32,
        "chance": pl.Float64,
    }
)
RANKINGS = pl.Schema(
    {
        "evaluation_id": pl.String,
        "query_id": pl.String,
        "category": pl.String,
        "reference": pl.String,
        "caption": pl.String,
        "target": pl.String,
        "target_rank": pl.Int32,
        "target_score": pl.Float32,
        "text_weight": pl.Float32,
    }
)
RETRIEVED = pl.Schema(
    {
        "evaluation_id": pl.String,
        "query_id": pl.String,
        "rank": pl.Int32,
        "image": pl.String,
        "score": pl.Float32,
    }
)
EPOCHS = pl.Schema(
    {
        "dataset": pl.String,
        "backbone": pl.String,
        "recipe": pl.String,
        "stage": pl.String,
        "version": pl.String,
        "epoch": pl.Int32,
        "loss": pl.Float64,
        "selection_metric": pl.Float64,
        "seconds": pl.Float64,
    }
)


@dataclass(frozen=True)
class World:
    """Where made-up results come from."""

    folder: Path
    splits: Sequence[str] = ("val", "test")
    protocols: Sequence[str] = ("fashioniq",)
    categories: Sequence[str] = ("dress", "shirt", "toptee")
    queries: int = 24
    gallery: int = 60
    dataset: str = "wardrobe"
    captions: Sequence[str] = ("Is blue and has longer sleeves", "Has no belt and is striped")


def make_inputs(world: World) -> ReportInputs:
    """Rank random features and lay the outcome out as the published tables."""
    random = np.random.default_rng(7)
    evaluations, metrics, rankings, retrieved = [], [], [], []
    for split in world.splits:
        for category in world.categories:
            for number in range(world.gallery):
                file = picture_file(world, f"{split}-{category}-{number}")
                if not file.exists():
                    draw_shape(file, category, number)
        for protocol in world.protocols:
            keys = [("recall", 10), ("recall", 50)]
            for method in METHODS:
                evaluation = f"{split}-{protocol}-{method}"
                means: dict[tuple[str, int], list[float]] = {key: [] for key in keys}
                for category in world.categories:
                    # The same queries by every method, so the same targets: only their features differ.
                    chosen = np.random.default_rng(len(category)).integers(0, world.gallery, world.queries)
                    features = random.standard_normal((world.gallery, 12))
                    queries = features[chosen] + NOISE.get(method, 1.5) * random.standard_normal(
                        (world.queries, 12)
                    )
                    features /= np.linalg.norm(features, axis=1, keepdims=True)
                    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
                    scores = queries @ features.T
                    order = np.argsort(-scores, axis=1, kind="stable")
                    ranks = 1 + np.argmax(order == chosen[:, None], axis=1)
                    for query in range(world.queries):
                        name = f"{split}-{category}-q{query:04d}"
                        rankings.append(
                            (
                                evaluation,
                                name,
                                category,
                                f"{split}-{category}-{(chosen[query] + 1) % world.gallery}",
                                world.captions[query % len(world.captions)],
                                f"{split}-{category}-{chosen[query]}",
                                int(ranks[query]),
                                float(scores[query, chosen[query]]),
                                float(random.beta(4, 3)) if method.startswith("combiner") else None,
                            )
                        )
                        for rank, position in enumerate(order[query, :50], start=1):
                            image = f"{split}-{category}-{position}"
                            score = float(scores[query, position])
                            retrieved.append((evaluation, name, rank, image, score))
                    for metric, k in keys:
                        value = 100.0 * float((ranks <= k).mean())
                        means[metric, k].append(value)
                        chance = 100.0 * min(1.0, k / world.gallery)
                        ends = (*_ends(value), world.gallery, chance)
                        metrics.append((evaluation, category, metric, k, value, *ends))
                for (metric, k), values in means.items():
                    value = float(np.mean(values))
                    chance = 100.0 * min(1.0, k / world.gallery)
                    ends = (*_ends(value), world.gallery * len(world.categories), chance)
                    metrics.append((evaluation, "mean", metric, k, value, *ends))
                headline = float(np.mean([np.mean(values) for values in means.values()]))
                chance = float(np.mean([min(1.0, k / world.gallery) for _, k in keys])) * 100
                ends = (*_ends(headline), world.gallery * len(world.categories), chance)
                metrics.append((evaluation, "mean", "headline", 0, headline, *ends))
                evaluations.append(
                    (
                        *(evaluation, world.dataset, "tiny_clip", "default", method, split, protocol),
                        world.queries * len(world.categories),
                        world.gallery * len(world.categories),
                        datetime(2026, 3, 4, 5, 6, 7),
                    )
                )
    return ReportInputs(
        dataset=world.dataset,
        backbone="tiny_clip",
        recipe="default",
        evaluations=pl.DataFrame(evaluations, EVALUATIONS, orient="row"),
        metrics=pl.DataFrame(metrics, METRICS, orient="row"),
        rankings=pl.DataFrame(rankings, RANKINGS, orient="row"),
        retrieved=pl.DataFrame(retrieved, RETRIEVED, orient="row"),
        training_epochs=_epochs(world),
        picture_path=lambda image: picture_file(world, image),
    )


def picture_file(world: World, image: str) -> Path:
    return world.folder / f"{image}.png"


def draw_shape(file: Path, category: str, number: int) -> None:
    """A picture of 64 x 64: a shape a category, a colour a number."""
    picture = Image.new("RGB", (64, 64), (240, 238, 230))
    colour = (37 * number % 256, 91 * number % 256, 53 * number % 256)
    draw = ImageDraw.Draw(picture)
    (draw.ellipse if category < "e" else draw.rectangle)((12, 8, 52, 56), fill=colour)
    picture.save(file)


def _ends(value: float) -> tuple[float, float]:
    return max(0.0, value - 4.5), min(100.0, value + 4.0)


def _epochs(world: World) -> pl.DataFrame:
    random = np.random.default_rng(3)
    rows = []
    for stage, epochs, top in (
        ("text_encoder", 10, 62.0),
        ("combiner_frozen_clip", 40, 58.0),
        ("combiner", 40, 78.0),
    ):
        for epoch in range(1, epochs + 1):
            done = 1 - float(np.exp(-4 * epoch / epochs))
            rows.append(
                (
                    *(world.dataset, "tiny_clip", "default", stage, "v1", epoch),
                    3.2 - 2.1 * done + float(random.normal(0, 0.03)),
                    top * (0.5 + 0.5 * done) + float(random.normal(0, 0.5)),
                    0.8,
                )
            )
    return pl.DataFrame(rows, EPOCHS, orient="row")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def inputs(world: World) -> ReportInputs:
    """Val and test, one protocol, three categories of 24 queries."""
    return make_inputs(world)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: install Debian's package chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield opened
        opened.close()
