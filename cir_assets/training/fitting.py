"""Hyper-parameters chosen from the data: what ``recipe: auto`` trains with, and the best of several trainings.

What can be read off the data is computed: batch, epochs and learning rate from the number of triplets and the width of
the features, the scale from how alike the gallery's pictures are. What cannot, softness and negatives, is trained
each way, and val says which is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor
from torch.nn import functional

from cir_assets.models.stages import COMBINER, TEXT_ENCODER
from cir_assets.training.loop import TrainingOutcome
from cir_assets.training.settings import Alternative, CombinerSettings, TextEncoderSettings
from cir_assets.training.triplets import TrainingTriplets

Settings = TypeVar("Settings", bound=TextEncoderSettings | CombinerSettings)
Model = TypeVar("Model")

SOFT_SCALE = 20.0
"""The scale for a gallery whose pictures point every way, against all of it: the wardrobe's."""

LARGEST_SOFT_SCALE = 100.0
STEPS = {TEXT_ENCODER: 1000, COMBINER: 1500}
"""Optimiser steps. On drawings stage 1 gains until its 1,000 and stage 2 still at the end of its 1,500."""

LEAST_EPOCHS = {TEXT_ENCODER: 10, COMBINER: 24}
"""However many the triplets: as many as the wardrobe's ``best`` has, whose every epoch val may keep."""

MOST_EPOCHS = 100
BATCHES_OF_AN_EPOCH = 16
LARGEST_BATCH = {TEXT_ENCODER: 128, COMBINER: 256}
SMALLEST_BATCH = 16

NARROW, WIDE = 128, 640
"""Feature dimensions of the embedded backbone and of the paper's: rates are known to train well at both."""

RATES = {TEXT_ENCODER: (5e-4, 2e-6), COMBINER: (4e-4, 2e-5)}
"""Of each stage at either width."""


@dataclass(frozen=True)
class Chosen(Generic[Settings]):
    """A stage's settings as chosen from the data, and why, a sentence each."""

    settings: Settings
    reasons: tuple[str, ...]


def fit_settings(settings: Settings, triplets: TrainingTriplets, features: Tensor) -> Chosen[Settings]:
    """Choose what a stage is trained with; the same data give the same choice.

    Args:
        settings: of the stage; its seed, and whatever is not chosen, stay as they are.
        triplets: the train split, with its gallery.
        features: (N, D), raw image features.

    Returns:
        The paper's loss with batch, epochs and learning rate for this many triplets of this width, and beside it a
        soft one over the whole gallery as its alternative.
    """
    stage = TEXT_ENCODER if isinstance(settings, TextEncoderSettings) else COMBINER
    count, width = len(triplets), features.shape[1]
    wanted = 2 ** round(math.log2(max(count / BATCHES_OF_AN_EPOCH, 1)))
    batch = min(max(SMALLEST_BATCH, min(LARGEST_BATCH[stage], wanted)), max(2, count))
    epochs = min(MOST_EPOCHS, max(LEAST_EPOCHS[stage], math.ceil(STEPS[stage] / max(1, count // batch))))
    narrow, wide = RATES[stage]
    place = min(1.0, max(0.0, math.log(width / NARROW) / math.log(WIDE / NARROW)))
    rate = float(f"{narrow ** (1 - place) * wide**place:.2g}")
    spread = gallery_spread(triplets, features)
    scale = float(f"{min(LARGEST_SOFT_SCALE, SOFT_SCALE / max(spread, 1e-6)):.2g}")
    chosen = settings.model_copy(
        update={
            "batch_size": batch,
            "epochs": epochs,
            "learning_rate": rate,
            "alternatives": (
                Alternative(negatives="gallery", logit_scale=scale, mask_duplicate_targets=True),
            ),
        }
    )
    return Chosen(
        cast("Settings", chosen),
        (
            f"batch_size {batch} and {epochs} epochs: {epochs * (count // batch):,} steps over {count:,} triplets",
            f"learning_rate {rate:g}: features have {width} numbers",
            f"logit_scale {scale:g} against the whole gallery, beside the paper's {settings.logit_scale:g} against "
            f"the batch: two of its pictures are {1 - spread:.3f} alike on average",
        ),
    )


def gallery_spread(triplets: TrainingTriplets, features: Tensor) -> float:
    """1 less the mean cosine of two pictures of the train gallery: 1 where they point every way, 0 where all are one.

    Args:
        triplets: the train split; its targets stand for the gallery where it has none.
        features: (N, D), raw image features.
    """
    rows = torch.from_numpy(triplets.target if triplets.gallery is None else triplets.gallery)
    mean = functional.normalize(features[rows.to(features.device)], dim=1).mean(dim=0)
    return 1 - float(mean.square().sum())


def train_best(
    settings: Settings,
    checkpoints: Path,
    train: Callable[[Settings, Path], tuple[Model, TrainingOutcome]],
    queries: int,
) -> tuple[Settings, Model, TrainingOutcome, dict[str, float]]:
    """Train a stage as it stands and with each of its alternatives; keep the best on val, or an earlier as good.

    As good is a figure that is less than its own standard error below the best (after Breiman et al. 1984, section
    3.4.3): val of few queries cannot tell those apart, and the stage as it stands, the first, is the paper's. Each
    training has a checkpoint of its own, so a killed one goes on where it was.

    Args:
        settings: of the stage.
        checkpoints: folder of its checkpoints; a stage without alternatives has it for itself.
        train: trains from the start, or on from a checkpoint in the folder given.
        queries: of val, whose share of hits the figure is, in percent.

    Returns:
        The settings kept, their model and outcome, and the selection figure on val of each training by name.
    """
    every = cast("dict[str, Settings]", settings.candidates())
    trained: dict[str, tuple[Settings, Model, TrainingOutcome]] = {}
    figures: dict[str, float] = {}
    for name, candidate in every.items():
        folder = checkpoints / name if len(every) > 1 else checkpoints
        model, outcome = train(candidate, folder)
        trained[name] = candidate, model, outcome
        figures[name] = max(record.selection_metric for record in outcome.epochs)
    best = max(figures.values())
    # A mean of hundreds may be a rounding above 100.
    errors = {
        name: math.sqrt(max(0.0, figure * (100 - figure)) / queries) for name, figure in figures.items()
    }
    first_as_good = next(name for name, figure in figures.items() if figure + errors[name] >= best)
    return *trained[first_as_good], figures
