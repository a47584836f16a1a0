"""The resumable epoch loop of both stages: checkpoint each epoch, keep the best, end with the same bytes."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from cir_assets.engines.progress import ProgressFactory, terminal_progress
from cir_assets.store.files import write_whole
from cir_assets.training.memory import freed_memory_kept

LOG = logging.getLogger("cir_assets.training")
CHECKPOINT = "checkpoint.pt"

WRITING_SHARE = 0.25
"""Share of the time checkpoints may take: where epochs are shorter than writing one is, as with a Combiner of
60 M parameters on a fast device, some epochs go without."""


class TrainingDiverged(ArithmeticError):
    """The loss is no longer a finite number."""


class BrokenCheckpoint(ValueError):
    """A checkpoint that does not belong to the training it was found by."""


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of one stage.

    ``step`` counts optimiser steps so far, ``loss`` is the epoch's mean, ``selection_metric`` the figure on
    val in percent, and ``seconds`` what the epoch took with its validation.
    """

    stage: str
    epoch: int
    step: int
    loss: float
    learning_rate: float
    selection_metric: float
    seconds: float


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training gave: its curve, and the epoch (from 1) whose weights were kept."""

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

    def on(self, features: Tensor) -> Validated:
        """The same queries over other features of the same pictures."""
        ...

    def rows(self) -> Tensor:
        """Every row of the feature matrix that is ranked or asked about, each once."""
        ...


@dataclass
class Trained:
    """The parts of a training whose state a checkpoint holds."""

    weights: Callable[[], dict[str, Tensor]]
    """Copies of the weights where they are: a GPU would wait while they are copied to the CPU."""
    load_weights: Callable[[dict[str, Tensor]], None]
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    losses: Callable[[int], Iterator[Tensor]]
    """The losses of one epoch's batches, not yet propagated back."""
    select: Callable[[], float]
    """The selection figure on val with the weights as they are, in percent; more is better."""
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
    """Train to the last epoch, from the checkpoint if there is one, and load the best epoch's weights.

    The random state of every epoch is set from ``(seed, epoch)``, and a checkpoint is written beside and
    renamed, so a training killed at any moment and started again ends with the same bytes as an unbroken one. A
    checkpoint that does not read, as a failing disk leaves it, is told of, and training starts at the first epoch.
    That holds on one kind of device with one number of CPU threads: another number adds floats in another
    order.

    Args:
        stage: its name in records, progress and messages.
        trained: what is trained.
        epochs: how many in all, those in the checkpoint counted.
        seed: decides every epoch's random state.
        checkpoints: folder of this training alone; made if need be, left for the caller to remove.
        progress: where it is told how far the training is.

    Raises:
        TrainingDiverged: when a loss is not finite, naming epoch and step and what to try.
        BrokenCheckpoint: when the checkpoint is of another training.
    """
    checkpoint = checkpoints / CHECKPOINT
    records = _resume(stage, trained, checkpoint)
    resumed = len(records)
    writing, last_written = 0.0, -math.inf
    with progress(f"train {stage}", epochs, "epochs") as shown, _repeatable(trained), freed_memory_kept():
        shown.advance(resumed, "resumed" if resumed else "")
        for epoch in range(resumed + 1, epochs + 1):
            best_before = max((record.selection_metric for record in records), default=-math.inf)
            records.append(_run_epoch(stage, trained, epoch, records, seed))
            if records[-1].selection_metric > best_before:
                trained.best = trained.weights()
            started = time.perf_counter()
            if epoch == epochs or (started - last_written) * WRITING_SHARE >= writing:
                _save(checkpoint, trained, records)
                last_written = time.perf_counter()
                writing = last_written - started
            shown.advance(1, f"loss {records[-1].loss:.4f}, {records[-1].selection_metric:.2f} % on val")
    trained.load_weights(trained.best)
    best = max(records, key=lambda record: (record.selection_metric, -record.epoch))
    return TrainingOutcome(records, best.epoch, resumed)


def _run_epoch(
    stage: str, trained: Trained, epoch: int, records: list[EpochRecord], seed: int
) -> EpochRecord:
    started = time.perf_counter()
    torch.manual_seed(seed * 1_000_003 + epoch)
    step = records[-1].step if records else 0
    # Losses stay on the device until the epoch ends: reading each would make the device wait for the host.
    losses: list[Tensor] = []
    for loss in trained.losses(epoch):
        trained.optimiser.zero_grad(set_to_none=True)
        trained.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        trained.scaler.step(trained.optimiser)
        trained.scaler.update()
        losses.append(loss.detach().float())
    values = torch.stack(losses).tolist()
    for offset, value in enumerate(values, start=1):
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"{stage}: the loss is {value} at step {step + offset} (epoch {epoch}, step {offset} of "
                f"{len(values)} in it); set a lower learning_rate or logit_scale, or mixed_precision: false, "
                "and see that the image features are finite. No weights of this epoch were kept"
            )
    return EpochRecord(
        stage=stage,
        epoch=epoch,
        step=step + len(values),
        loss=sum(values) / len(values),
        learning_rate=float(trained.optimiser.param_groups[0]["lr"]),
        selection_metric=trained.select(),
        seconds=time.perf_counter() - started,
    )


def _resume(stage: str, trained: Trained, checkpoint: Path) -> list[EpochRecord]:
    """Put a checkpoint's state in place, if there is one that reads; the epochs it holds."""
    if not checkpoint.is_file():
        return []
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        LOG.warning(
            f"{checkpoint} does not read ({type(error).__name__}: {error}); {stage} starts from its first epoch"
        )
        return []
    try:
        if state["stage"] != stage:
            raise ValueError(f"it is of {state['stage']}")
        trained.load_weights(state["weights"])
        trained.optimiser.load_state_dict(state["optimiser"])
        trained.scaler.load_state_dict(state["scaler"])
        trained.best = state["best"]
        return [EpochRecord(**record) for record in state["records"]]
    except Exception as error:
        raise BrokenCheckpoint(
            f"{checkpoint} cannot be resumed as a training of {stage} ({type(error).__name__}: {error}); "
            "remove it, and the training starts from its first epoch"
        ) from error


def _save(checkpoint: Path, trained: Trained, records: list[EpochRecord]) -> None:
    state: dict[str, Any] = {
        "stage": records[-1].stage,
        "records": [asdict(record) for record in records],
        "weights": trained.weights(),
        "best": trained.best,
        "optimiser": trained.optimiser.state_dict(),
        "scaler": trained.scaler.state_dict(),
    }
    with write_whole(checkpoint) as beside:
        torch.save(state, beside)


@contextmanager
def _repeatable(trained: Trained) -> Iterator[None]:
    """On CUDA, choose kernels that add in the same order each time; the CPU's do so anyway."""
    if not any(p.is_cuda for group in trained.optimiser.param_groups for p in group["params"]):
        yield
        return
    # cuBLAS is repeatable only with a workspace of fixed size, which it reads from the environment.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before, warned = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
