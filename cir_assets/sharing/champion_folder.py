"""A data set's champion as one folder that loads anywhere, with its card."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cir_assets.models.files import CONFIG, read_object
from cir_assets.models.portable import Portable, write_portable
from cir_assets.models.shape import backbone_shape
from cir_assets.reporting.card import Subject, model_card
from cir_assets.retrieval.methods import METHODS
from cir_assets.serving.export import Exported, NothingExported, current, every_export, read_about
from cir_assets.store.contracts import EVALUATIONS, METRICS
from cir_assets.store.database import open_database
from cir_assets.store.layout import Storage

LOADING = """\
from cir_assets.models.portable import ComposedRetrieval

pipeline = ComposedRetrieval.from_pretrained("this folder, or its repository on the Hub")
query = pipeline("reference.jpg", "is red and has longer sleeves")  # float32 (D,) of unit length
best = pipeline.rank(query, pipeline.image_features(["one.jpg", "two.jpg"]))"""


class FolderThere(FileExistsError):
    """The folder that is to be written is there already; the message says so."""


def export_champion(
    storage: Storage, dataset: str, pipeline: str | None, folder: Path
) -> tuple[Portable, list[Path]]:
    """Write what serves a data set's searches as one folder, whole or not at all.

    Args:
        storage: where it was made.
        dataset: its name.
        pipeline: backbone/recipe; None: that with the best headline on val.
        folder: to be made.

    Returns:
        What it is, and the files that were written.

    Raises:
        NothingExported: when there is no such pipeline, naming those there are.
        FolderThere: when the folder is there.
        BrokenModel: when a model in use is not what was saved.
    """
    if folder.exists():
        raise FolderThere(f"{folder} is there already: name a folder that is not")
    about = chosen(storage, dataset, pipeline)
    method = METHODS[about.method]
    backbone = storage.root / about.backbone_folder
    models = {model: storage.root / about.models[model] for model in method.models}
    shape = backbone_shape(backbone)
    portable = Portable(
        dataset=about.dataset,
        backbone=about.backbone,
        recipe=about.recipe,
        method=about.method,
        padding=about.padding,
        target_ratio=about.target_ratio,
        resolution=shape.resolution,
        feature_dimension=shape.feature_dimension,
        share=about.share,
    )
    made = {model: read_object(place / CONFIG).get("cir_assets") or {} for model, place in models.items()}
    subject = Subject(
        title=f"Composed image retrieval on {about.dataset}",
        meaning=f"a whole pipeline of composed image retrieval. A query is {method.explanation}",
        dataset=about.dataset,
        backbone=about.backbone,
        base="its weights are in backbone/, and so is its own card where it has one",
        methods=[about.method],
        made=made,
        loading=LOADING,
        library="cir_assets",
        embedded=about.backbone == "tiny_clip" and about.dataset == "wardrobe",
    )
    card = model_card(subject, *_figures(storage.results(about.dataset, about.backbone, about.recipe)))
    return portable, write_portable(folder, portable, backbone, models, card)


def chosen(storage: Storage, dataset: str, pipeline: str | None) -> Exported:
    """What serves a data set: the named pipeline, else the one with the best headline on val.

    Raises:
        NothingExported: when there is none, naming those there are.
    """
    served = [read_about(current(each)) for each in every_export(storage.searches, dataset)]
    served.sort(key=lambda about: -(about.headline or 0.0))
    for about in served:
        if pipeline in (None, f"{about.backbone}/{about.recipe}"):
            return about
    there = ", ".join(f"{about.backbone}/{about.recipe}" for about in served)
    raise NothingExported(
        f"{dataset} has no pipeline {pipeline} to export; it has {there}"
        if served
        else f"nothing of {dataset} serves searches yet: materialize its search assets first: "
        f"dagster asset materialize --select '+key:\"{dataset}/*/search\"' -m <your module>.definitions"
    )


def _figures(results: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables ``evaluations`` and ``metrics`` of a pipeline; empty where it was not evaluated."""
    if not results.is_file():
        return pl.DataFrame(schema=EVALUATIONS.schema), pl.DataFrame(schema=METRICS.schema)
    with open_database(results, read_only=True) as connection:
        evaluations, metrics = (
            pl.DataFrame(connection.sql(f"SELECT * FROM {table.name}").to_arrow_table())
            for table in (EVALUATIONS, METRICS)
        )
    return evaluations, metrics
