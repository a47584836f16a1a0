"""What a report is made of: the result tables of one pipeline and a way to its pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from cir_assets.pictures.settings import PIXEL_LIMIT

_NEEDED: Mapping[str, tuple[str, ...]] = {
    "evaluations": (
        *("evaluation_id", "dataset", "backbone", "recipe", "method", "split", "protocol"),
        *("queries", "gallery_size", "created_at"),
    ),
    "metrics": ("evaluation_id", "category", "metric", "k", "value", "ci_low", "ci_high"),
    "rankings": (
        *("evaluation_id", "query_id", "category", "reference", "caption", "target"),
        *("target_rank", "target_score"),
    ),
    "retrieved": ("evaluation_id", "query_id", "rank", "image", "score"),
    "training_epochs": ("stage", "version", "epoch", "loss", "selection_metric"),
}


@dataclass(frozen=True)
class ReportInputs:
    """One pipeline's results as plain values and frames with the columns of the published tables.

    Rows of other pipelines in ``evaluations`` and ``training_epochs`` are left out; of several evaluations
    of one method, split and protocol the newest counts, and of several versions of one stage the last.

    Attributes:
        dataset: name of the data set.
        backbone: name of the dual encoder.
        recipe: name of the hyper-parameters.
        evaluations: evaluation_id, dataset, backbone, recipe, method, split, protocol, queries,
            gallery_size, created_at (UTC).
        metrics: evaluation_id, category, metric, k, value, ci_low, ci_high (percent).
        rankings: evaluation_id, query_id, category, reference, caption, target, target_rank (from 1),
            target_score; text_weight, the Combiner's lambda, where it was kept.
        retrieved: evaluation_id, query_id, rank (from 1), image, score.
        training_epochs: stage, version, epoch (from 1), loss, selection_metric (percent); dataset, backbone,
            recipe, learning_rate and seconds are used where they stand.
        picture_path: image id -> the file, or None where there is none.
        galleries: split, category, image, to tell each gallery's size; None leaves that out.
        sheet_protocol: under which protocol; None takes the first that a method that may serve was evaluated under.
        pixel_limit: pictures of more pixels are not opened.
        provenance: what a person needs to make it again, as heading -> name -> text; any text.
        neighbours: backbone and recipe of the data set's other reports, to link.
        published: what others published, as ``PUBLISHED_RESULTS``, to stand beside; None leaves that out.

    Raises:
        ValueError: a frame lacks a column, or ranks do not begin at 1.
    """

    dataset: str
    backbone: str
    recipe: str
    evaluations: pl.DataFrame
    metrics: pl.DataFrame
    rankings: pl.DataFrame
    retrieved: pl.DataFrame
    training_epochs: pl.DataFrame
    picture_path: Callable[[str], Path | None]
    galleries: pl.DataFrame | None = None
    sheet_protocol: str | None = None
    pixel_limit: int = PIXEL_LIMIT
    provenance: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    neighbours: Sequence[tuple[str, str]] = ()
    published: pl.DataFrame | None = None

    def __post_init__(self) -> None:
        for table, columns in _NEEDED.items():
            frame: pl.DataFrame = getattr(self, table)
            lacking = [column for column in columns if column not in frame.columns]
            if lacking:
                raise ValueError(
                    f"the report's table {table!r} lacks {', '.join(lacking)}; it needs {', '.join(columns)}"
                )
        for table, column in (("rankings", "target_rank"), ("retrieved", "rank")):
            lowest = getattr(self, table)[column].min()
            if lowest is not None and lowest < 1:
                raise ValueError(
                    f"ranks in the report's {table}.{column} begin at 1, got {lowest}; add 1 to ranks from 0"
                )

    @property
    def own_evaluations(self) -> pl.DataFrame:
        """The evaluations of this pipeline."""
        return self._own(self.evaluations)

    @property
    def own_epochs(self) -> pl.DataFrame:
        """This pipeline's epochs, of each stage the version that stands last."""
        epochs = self._own(self.training_epochs)
        last = epochs.group_by("stage", maintain_order=True).agg(pl.col("version").last())
        return epochs.join(last, on=["stage", "version"], how="semi").sort("stage", "epoch")

    def _own(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of this pipeline, as far as the frame tells pipelines apart."""
        pipeline = {"dataset": self.dataset, "backbone": self.backbone, "recipe": self.recipe}
        for column, value in pipeline.items():
            if column in frame.columns:
                frame = frame.filter(pl.col(column) == value)
        return frame
