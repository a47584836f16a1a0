"""What both stages do with a finished training: keep its version whole, with its curve, and tell the UI."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cir_assets.assets.inputs import weights_version
from cir_assets.assets.pipeline import Pipeline
from cir_assets.assets.step import Made
from cir_assets.checks import loss_falling
from cir_assets.resources import Storage
from cir_assets.store.ledger import Ledger
from cir_assets.store.promotions import every_champion

if TYPE_CHECKING:
    from cir_assets.training.loop import TrainingOutcome


def trained(
    folder: Path, stage: str, outcome: TrainingOutcome, checkpoints: Path, save: Callable[[Path], None]
) -> Made:
    """Save a trained model and its curve as ``folder``, whole or not at all; then drop its checkpoints.

    The version's content is the digest of its weights.
    """
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    save(beside)
    epochs = pl.DataFrame(
        [
            {
                "stage": stage,
                "epoch": record.epoch,
                "step": record.step,
                "loss": record.loss,
                "learning_rate": record.learning_rate,
                "selection_metric": record.selection_metric,
                "seconds": record.seconds,
            }
            for record in outcome.epochs
        ]
    )
    epochs.write_parquet(beside / "epochs.parquet")
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    shutil.rmtree(checkpoints, ignore_errors=True)
    best = epochs.row(by_predicate=pl.col("epoch") == outcome.best_epoch, named=True)
    return Made(
        data_version=weights_version(folder),
        metadata={
            "headline_on_val": round(best["selection_metric"], 3),
            "best_epoch": outcome.best_epoch,
            "epochs": epochs.height,
            "resumed_after_epoch": outcome.resumed_after,
            "last_loss": round(epochs["loss"][-1], 5),
            "training_seconds": round(epochs["seconds"].sum(), 1),
            "folder": {"path": str(folder)},
            "curve": {"markdown": _curve(epochs)},
        },
        checks={"loss_falling": loss_falling(epochs["loss"].to_list())},
        files=[folder],
        unworked={"training_seconds": 0.0},
    )


def forget_old_versions(storage: Storage, pipeline: Pipeline, model: str) -> list[str]:
    """Remove versions of a model that are neither among the newest nor ever were champion, of any pipeline.

    The version in use, the ledger's latest, stays too; what killed trainings left beside them goes.

    Returns:
        The versions removed.
    """
    beside = list(storage.models(*pipeline.place, model).iterdir())
    left = [folder for folder in beside if folder.name == "checkpoints" or folder.name.startswith(".")]
    versions = sorted(set(beside) - set(left), key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
    kept = {version for name, version in every_champion(storage.champions) if name == pipeline.name(model)}
    if (latest := Ledger(storage.ledger).latest(pipeline.name(model))) is not None:
        kept.add(latest.fingerprint)
    old = [folder for folder in versions[pipeline.graph.promotion.keep_versions :] if folder.name not in kept]
    for folder in (*left, *old):
        shutil.rmtree(folder)
    return [folder.name for folder in old]


def _curve(epochs: pl.DataFrame) -> str:
    """The whole curve as a picture, and below it every epoch as a Markdown table."""
    from cir_assets.reporting.curves import curves_markdown

    lines = ["| epoch | loss | headline on val |", "|---:|---:|---:|"]
    lines += [
        f"| {epoch} | {loss:.4f} | {headline:.2f} |"
        for epoch, loss, headline in epochs.select("epoch", "loss", "selection_metric").iter_rows()
    ]
    return "\n\n".join([curves_markdown(epochs), "\n".join(lines)])
