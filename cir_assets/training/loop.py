"""The resumable epoch loop both stages run in: checkpoint each epoch, keep the best, end with the same bytes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from cir_assets.progress import ProgressFactory, terminal_progress

CHECKPOINT = "checkpoint.pt"


class TrainingDiverged(ArithmeticError):
    """The loss is no longer a finite number."""


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: mean loss, the headline on val in percent, seconds it took."""

    stage: str
    epoch: int
    step: int
    loss: float
    learning_rate: float
    selection_metric: float
    seconds: float


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training gave: its curve, and the epoch whose weights were kept."""

    epochs: list[EpochRecord]
    best_epoch: int
    resumed_after: int = 0
    """Epochs that were found finished in a checkpoint."""


class Validated(Protocol):
    """Queries that can be scored each epoch, such as ``retrieval.validation.Validation``."""

    captions: list[str]
    reference: Tensor

    def score(self, queries: Tensor) -> Mapping[str, float]:
        """Figures of unit-length queries (Q, D) in percent, ``headline`` among them."""
        ...


@dataclass
class Trained:
    """The parts of a training whose state a checkpoint holds."""

    weights: Callable[[], dict[str, Tensor]]
    load_weights: Callable[[dict[str, Tensor]], None]
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    losses: Callable[[int], Iterator[Tensor]]
    """The losses of one epoch's batches, not yet propagated back."""
    headline: Callable[[], float]
    """The headline on val with the weights as they are, in percent."""
    best: dict[str, Tensor] = field(default_factory=dict)


def run_epochs(
    stage: str,
    trained: Trained,
    *,
    epochs: int,
    seed: int,
    checkpoints: Path,
    progress: ProgressFactory = terminal_progress,
) -> TrainingOutcome:
    """Train to the last epoch, from the newest checkpoint if there is one, and load the best weights.

    The random state of every epoch is set from ``(seed, epoch)``, so a training killed at any moment and
    started again ends with the same bytes as an unbroken one on the same device and number of threads.

    Raises:
        TrainingDiverged: when a loss is not finite, naming epoch and step and what to try.
    """
    records: list[EpochRecord] = []
    checkpoint = checkpoints / CHECKPOINT
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        records = [EpochRecord(**record) for record in state["records"]]
        trained.load_weights(state["weights"])
        trained.optimiser.load_state_dict(state["optimiser"])
        trained.scaler.load_state_dict(state["scaler"])
        trained.best = state["best"]
    resumed = len(records)
    with progress(f"train {stage}", epochs, "epochs") as shown:
        shown.advance(resumed, "resumed" if resumed else "")
        for epoch in range(resumed + 1, epochs + 1):
            best_before = max((record.selection_metric for record in records), default=-math.inf)
            records.append(_run_epoch(stage, trained, epoch, records, seed))
            if records[-1].selection_metric > best_before:
                trained.best = trained.weights()
            _save(checkpoint, trained, records)
            shown.advance(1, f"loss {records[-1].loss:.4f}, headline {records[-1].selection_metric:.2f}")
    trained.load_weights(trained.best)
    best = max(records, key=lambda record: (record.selection_metric, -record.epoch))
    return TrainingOutcome(records, best.epoch, resumed)


def _run_epoch(
    stage: str, trained: Trained, epoch: int, records: list[EpochRecord], seed: int
) -> EpochRecord:
    started = time.perf_counter()
    torch.manual_seed(seed * 1_000_003 + epoch)
    step = records[-1].step if records else 0
    total: Tensor | None = None
    first = step
    for loss in trained.losses(epoch):
        trained.optimiser.zero_grad(set_to_none=True)
        trained.scaler.scale(loss).backward()
        trained.scaler.step(trained.optimiser)
        trained.scaler.update()
        step += 1
        # Summed on the device: reading each loss would make the device wait for the host.
        total = loss.detach().float() if total is None else total + loss.detach().float()
    mean = float(total) / (step - first) if total is not None else math.nan
    if not math.isfinite(mean):
        raise TrainingDiverged(
            f"{stage}: the loss of epoch {epoch} (steps {first + 1} to {step}) is {mean}; lower the learning "
            "rate or the logit scale, or set mixed_precision: false; the checkpoint of the epoch before is kept"
        )
    return EpochRecord(
        stage=stage,
        epoch=epoch,
        step=step,
        loss=mean,
        learning_rate=float(trained.optimiser.param_groups[0]["lr"]),
        selection_metric=trained.headline(),
        seconds=time.perf_counter() - started,
    )


def _save(checkpoint: Path, trained: Trained, records: list[EpochRecord]) -> None:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    beside = checkpoint.with_suffix(".new")
    state: dict[str, Any] = {
        "records": [asdict(record) for record in records],
        "weights": trained.weights(),
        "best": trained.best,
        "optimiser": trained.optimiser.state_dict(),
        "scaler": trained.scaler.state_dict(),
    }
    torch.save(state, beside)
    beside.replace(checkpoint)
