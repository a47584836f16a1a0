"""The epoch loop: the best epoch is kept, a broken loss is named, checkpoints are whole or refused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cir_assets.training.loop import CHECKPOINT, BrokenCheckpoint, Trained, TrainingDiverged, run_epochs


class Descent:
    """One weight, pulled down by a constant gradient, two steps an epoch; val says what it is told to say."""

    def __init__(self, figures: list[float], losses: dict[tuple[int, int], float] | None = None) -> None:
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.figures = iter(figures)
        self.special = losses or {}
        self.noise: list[float] = []

    def _losses(self, epoch: int) -> Iterator[Tensor]:
        self.noise.append(float(torch.rand(1)))
        for step in (1, 2):
            yield self.weight.sum() + self.special.get((epoch, step), 0.0)

    def _load(self, weights: dict[str, Tensor]) -> None:
        self.weight.data.copy_(weights["weight"])

    def trained(self) -> Trained:
        return Trained(
            weights=lambda: {"weight": self.weight.detach().clone()},
            load_weights=self._load,
            optimiser=torch.optim.SGD([self.weight], lr=0.5),
            scaler=torch.amp.GradScaler("cpu", enabled=False),
            losses=self._losses,
            select=lambda: next(self.figures),
        )


def test_the_best_epochs_weights_come_back_and_the_first_of_equals(tmp_path: Path) -> None:
    descent = Descent([10.0, 30.0, 20.0, 30.0])
    outcome = run_epochs("stage", descent.trained(), epochs=4, seed=0, checkpoints=tmp_path)
    assert outcome.best_epoch == 2
    assert [record.selection_metric for record in outcome.epochs] == [10.0, 30.0, 20.0, 30.0]
    assert descent.weight.item() == -2.0  # two epochs of two steps of 0.5
    assert [record.step for record in outcome.epochs] == [2, 4, 6, 8]
    assert outcome.epochs[0].loss == pytest.approx(-0.25)  # 0 and -0.5
    assert {record.learning_rate for record in outcome.epochs} == {0.5}


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    run_epochs("stage", Descent([10.0, 30.0, 20.0]).trained(), epochs=3, seed=0, checkpoints=tmp_path)
    again = Descent([])
    outcome = run_epochs("stage", again.trained(), epochs=3, seed=0, checkpoints=tmp_path)
    assert outcome.resumed_after == 3
    assert again.noise == []
    assert again.weight.item() == -2.0


def test_every_epochs_random_state_is_decided_by_seed_and_epoch(tmp_path: Path) -> None:
    whole = Descent([1.0, 2.0, 3.0])
    run_epochs("stage", whole.trained(), epochs=3, seed=7, checkpoints=tmp_path / "whole")
    first, rest = Descent([1.0]), Descent([2.0, 3.0])
    run_epochs("stage", first.trained(), epochs=1, seed=7, checkpoints=tmp_path / "broken")
    torch.rand(1000)
    run_epochs("stage", rest.trained(), epochs=3, seed=7, checkpoints=tmp_path / "broken")
    assert first.noise + rest.noise == whole.noise
    assert len(set(whole.noise)) == 3
    assert rest.weight.item() == whole.weight.item() == -3.0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_epoch_and_step_and_keeps_the_epoch_before(
    tmp_path: Path, value: float
) -> None:
    descent = Descent([1.0, 2.0], {(2, 1): value})
    with pytest.raises(TrainingDiverged, match=r"at step 3 \(epoch 2, step 1 of 2 in it\).*learning_rate"):
        run_epochs("stage", descent.trained(), epochs=3, seed=0, checkpoints=tmp_path)
    mended = Descent([2.0, 3.0])
    outcome = run_epochs("stage", mended.trained(), epochs=3, seed=0, checkpoints=tmp_path)
    assert outcome.resumed_after == 1
    assert mended.weight.item() == -3.0


def test_a_checkpoint_of_another_stage_is_refused_by_its_path(tmp_path: Path) -> None:
    run_epochs("text_encoder", Descent([1.0]).trained(), epochs=1, seed=0, checkpoints=tmp_path)
    with pytest.raises(BrokenCheckpoint, match=r"checkpoint\.pt cannot be resumed .* it is of text_encoder"):
        run_epochs("combiner", Descent([1.0]).trained(), epochs=1, seed=0, checkpoints=tmp_path)


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_checkpoint_cut_off_by_a_power_failure_is_told_of_and_training_starts_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, share: float
) -> None:
    run_epochs("stage", Descent([1.0, 2.0]).trained(), epochs=2, seed=0, checkpoints=tmp_path)
    content = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(content[: int(share * len(content))])
    anew = Descent([1.0, 2.0, 3.0])
    outcome = run_epochs("stage", anew.trained(), epochs=3, seed=0, checkpoints=tmp_path)
    assert outcome.resumed_after == 0
    assert len(outcome.epochs) == 3
    assert anew.weight.item() == -3.0
    assert "does not read" in caplog.text
    assert "starts from its first epoch" in caplog.text


def test_nothing_half_written_is_left_beside_a_checkpoint(tmp_path: Path) -> None:
    run_epochs("stage", Descent([1.0, 2.0]).trained(), epochs=2, seed=0, checkpoints=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]
