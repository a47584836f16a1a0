"""Half precision: what a recipe asks for on which device, and that bfloat16 learns what float32 learns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cir_assets.models.backbone import Backbone
from cir_assets.training.loop import TrainingOutcome
from cir_assets.training.precision import Precision
from tests.training.problems import Problem, draw_problem
from tests.training.test_combiner import train as train_combiner
from tests.training.test_text_encoder import train as train_text_encoder

SEEDS = range(5)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return draw_problem(dimension=16)


@pytest.mark.parametrize(
    ("setting", "device", "dtype", "scaled"),
    [
        (True, "cuda", torch.float16, True),
        (True, "cpu", None, False),
        (False, "cuda", None, False),
        ("bfloat16", "cuda", torch.bfloat16, False),
        ("bfloat16", "cpu", torch.bfloat16, False),
    ],
)
def test_what_a_recipe_asks_for(setting: Any, device: str, dtype: torch.dtype | None, scaled: bool) -> None:
    precision = Precision.of(setting, torch.device(device))
    assert precision.dtype is dtype
    if device == "cpu":
        assert precision.scaler().is_enabled() is scaled


def test_products_are_taken_in_bfloat16_and_weights_kept_in_float32() -> None:
    layer = torch.nn.Linear(4, 4)
    with Precision.of("bfloat16", torch.device("cpu")).autocast():
        assert layer(torch.ones(1, 4)).dtype is torch.bfloat16
    assert layer.weight.dtype is torch.float32


def stage_2(backbone: Backbone, problem: Problem, folder: Path, **settings: Any) -> TrainingOutcome:
    return train_combiner(backbone, problem, folder, **settings)[1]


@pytest.mark.parametrize("stage", [train_text_encoder, stage_2])
def test_bfloat16_ends_within_the_seeds_spread_of_float32(
    stage: Callable[..., TrainingOutcome], backbone_folder: Path, problem: Problem, tmp_path: Path
) -> None:
    ends: dict[bool | str, list[float]] = {}
    for setting in (False, "bfloat16"):
        ends[setting] = [
            max(
                record.selection_metric
                for record in stage(
                    Backbone.load(backbone_folder),
                    problem,
                    tmp_path / f"{setting}-{seed}",
                    mixed_precision=setting,
                    seed=seed,
                    epochs=8,
                ).epochs
            )
            for seed in SEEDS
        ]
    full, half = np.array(ends[False]), np.array(ends["bfloat16"])
    assert len(set(full.tolist()) | set(half.tolist())) > 2
    assert abs(half.mean() - full.mean()) <= full.std(ddof=1) + half.std(ddof=1)
