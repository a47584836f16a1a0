"""``recipe: auto``: the same data give the same choice, and of several trainings val keeps the best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from cir_assets.training.fitting import fit_settings, gallery_spread, train_best
from cir_assets.training.loop import EpochRecord, TrainingOutcome
from cir_assets.training.settings import Alternative, CombinerSettings, TextEncoderSettings
from cir_assets.training.triplets import TrainingTriplets


def triplets(count: int) -> TrainingTriplets:
    rows = np.arange(count, dtype=np.int64)
    return TrainingTriplets(rows, (rows + 1) % count, [["is red"]] * count, gallery=rows)


@pytest.mark.parametrize("stage", [TextEncoderSettings, CombinerSettings])
@pytest.mark.parametrize("count", [3, 127, 300, 3_000, 30_000])
def test_every_catalogue_fills_its_batches_and_takes_some_steps(
    stage: type[TextEncoderSettings] | type[CombinerSettings], count: int
) -> None:
    features = torch.randn(count, 8, generator=torch.Generator().manual_seed(0))
    chosen = fit_settings(stage(seed=5), triplets(count), features)
    settings = chosen.settings
    assert settings.batch_size <= count
    assert settings.epochs * (count // settings.batch_size) >= 100
    assert settings.seed == 5
    assert (settings.logit_scale, settings.negatives) == (100.0, "batch")
    assert len(settings.candidates()) == 2
    assert chosen == fit_settings(stage(seed=5), triplets(count), features)


@pytest.mark.parametrize(("width", "rate"), [(64, 4e-4), (128, 4e-4), (640, 2e-5), (1024, 2e-5)])
def test_the_rate_falls_with_the_width_as_far_as_it_is_known(width: int, rate: float) -> None:
    chosen = fit_settings(CombinerSettings(), triplets(300), torch.ones(300, width))
    assert chosen.settings.learning_rate == rate


def test_a_gallery_of_look_alikes_gets_a_steeper_scale() -> None:
    random = torch.Generator().manual_seed(0)
    every_way = torch.randn(600, 64, generator=random)
    alike = every_way + 20
    assert gallery_spread(triplets(600), every_way) == pytest.approx(1, abs=0.02)
    cosines = torch.nn.functional.normalize(alike, dim=1) @ torch.nn.functional.normalize(alike, dim=1).T
    assert gallery_spread(triplets(600), alike) == pytest.approx(1 - float(cosines.mean()), abs=1e-5)
    scales = [
        fit_settings(CombinerSettings(), triplets(600), features).settings.alternatives[0].logit_scale
        for features in (every_way, alike)
    ]
    assert scales == [20.0, 100.0]


@pytest.mark.parametrize(
    ("figures", "queries", "kept"),
    [
        ((40.0, 50.0), 400, 20.0),
        ((50.0, 40.0), 400, 100.0),
        ((50.0, 50.0), 400, 100.0),
        # One standard error is 2.5 points of 400 queries, 9.5 of 27, and 1.9 near the top.
        ((47.6, 50.0), 400, 100.0),
        ((47.4, 50.0), 400, 20.0),
        ((42.0, 50.0), 27, 100.0),
        ((99.0, 100.0), 27, 100.0),
    ],
)
def test_val_says_which_training_is_kept_and_the_first_of_those_it_cannot_tell_apart(
    figures: tuple[float, float], queries: int, kept: float, tmp_path: Path
) -> None:
    settings = CombinerSettings(alternatives=(Alternative(logit_scale=20.0),))
    of = dict(zip((100.0, 20.0), figures, strict=True))
    folders = []

    def train(tried: CombinerSettings, checkpoints: Path) -> tuple[float, TrainingOutcome]:
        folders.append(checkpoints)
        value = of[tried.logit_scale]
        epochs = [
            EpochRecord("combiner", 1, 1, 1.0, 1e-3, each, 0.1) for each in (value - 1, value, value - 2)
        ]
        return tried.logit_scale, TrainingOutcome(epochs, 2)

    found, model, outcome, told = train_best(settings, tmp_path, train, queries)
    assert found.logit_scale == model == kept
    assert max(record.selection_metric for record in outcome.epochs) == of[kept]
    assert told == {"as it stands": figures[0], "logit_scale=20.0": figures[1]}
    assert len(set(folders)) == 2
    assert tmp_path not in folders


def test_a_stage_without_alternatives_is_what_it_was() -> None:
    settings = CombinerSettings(logit_scale=50.0)
    assert settings.candidates() == {"as it stands": settings}
    assert "alternatives" not in settings.model_dump(mode="json")


def test_an_alternative_that_cannot_be_trained_is_refused() -> None:
    with pytest.raises(ValidationError, match="negatives: gallery takes features that stay as they are"):
        TextEncoderSettings(encoder="both", alternatives=(Alternative(negatives="gallery"),))
