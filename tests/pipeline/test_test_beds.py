"""Small data sets of each further kind go from their files to figures, step by step, as the graph takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cir_assets.components.graph import pipelines_of
from cir_assets.components.specification import DatasetSpec
from cir_assets.models.settings import BackboneSettings, ZeroShot
from cir_assets.pipeline.encoding import image_features_step
from cir_assets.pipeline.inputs import load_backbone, load_inputs
from cir_assets.pipeline.queries import method_queries
from cir_assets.pipeline.source import raw_step
from cir_assets.pipeline.step import Work, run
from cir_assets.pipeline.tables import images_step, triplets_step
from cir_assets.retrieval.evaluation import evaluate
from cir_assets.retrieval.ranking import unit_length
from cir_assets.store.layout import Storage
from tests.datasets.conftest import write_json, write_picture

Figures = dict[tuple[str, str], int]
"""(category, metric) -> queries."""


def drawn(folder: Path, *names: str, side: int = 12) -> None:
    for number, name in enumerate(names):
        write_picture(folder / name, (20 * number % 256, 255 - 30 * number % 256, 90 * number % 256), side)


def genecis(folder: Path) -> Figures:
    def task(pictures: list[dict[str, Any]]) -> list[dict[str, Any]]:
        reference, target, *gallery = pictures
        return [{"condition": "red", "reference": reference, "target": target, "gallery": gallery}]

    write_json(folder / "change_object.json", task([{"val_image_id": number} for number in range(1, 6)]))
    boxes = [{"image_id": number, "instance_bbox": [2, 2, 8, 5]} for number in range(1, 6)]
    write_json(folder / "focus_attribute.json", task(boxes))
    drawn(folder / "val2017", *(f"{number:012d}.jpg" for number in range(1, 6)))
    drawn(folder / "visual_genome", *(f"{number}.jpg" for number in range(1, 6)), side=20)
    return {
        (category, f"subset_recall@{k}"): count
        for category, count in (("change_object", 1), ("focus_attribute", 1), ("mean", 2))
        for k in (1, 2, 3)
    } | {("mean", "headline@0"): 2}


def fashion200k(folder: Path) -> Figures:
    described = {"1": "red coat", "2": "blue coat", "3": "blue coat", "4": "green hat"}
    for split in ("train", "test"):
        paths = {f"women/{split}{number}.jpeg": said for number, said in described.items()}
        labels = folder / "labels" / f"top_{split}_detect_all.txt"
        labels.parent.mkdir(exist_ok=True)
        labels.write_text("".join(f"{path}\t-1\t{said}\n" for path, said in paths.items()))
        drawn(folder, *paths, side=12 if split == "train" else 16)
    (folder / "test_queries.txt").write_text("women/test1.jpeg women/test2.jpeg\n")
    recalls = {(category, f"recall@{k}"): 1 for category in ("all", "mean") for k in (1, 10, 50)}
    return recalls | {("mean", "headline@0"): 1}


def icir(folder: Path) -> Figures:
    database = [f"database/{name}/{number}.jpg" for name in ("mug", "temple") for number in range(3)]
    queries = ["query/mug/q.jpg", "query/temple/q.jpg"]
    drawn(folder, *database, *queries)
    rows = [f"icir/{path},{'at night' if '2' not in path else ''},{path.split('/')[1]}" for path in database]
    (folder / "database_files.csv").write_text("\n".join(rows))
    (folder / "query_files.csv").write_text(
        "\n".join(f"icir/{q},at night,{q.split('/')[1]}" for q in queries)
    )
    precisions = {(category, "mean_average_precision@0"): 1 for category in ("mug", "temple")}
    return precisions | {("mean", "mean_average_precision@0"): 2, ("mean", "headline@0"): 2}


@pytest.mark.parametrize("write", [genecis, fashion200k, icir])
def test_its_files_become_figures_under_its_protocol(
    tmp_path: Path, write: Callable[[Path], Figures]
) -> None:
    kind, folder = write.__name__, tmp_path / "files"
    folder.mkdir()
    expected = write(folder)
    spec = DatasetSpec.model_validate(
        {
            "source": {"kind": kind, "folder": str(folder)},
            "protocols": [kind],
            "backbones": ["tiny_clip"],
            "models_of": {"trained": {"dataset": "wardrobe", "recipe": "small"}},
            "device": "cpu",
            "decoding_workers": 0,
        }
    )
    [asked] = pipelines_of("bed", spec, {"tiny_clip": BackboneSettings(kind="embedded", place="tiny_clip")})
    work, data = Work(Storage(tmp_path / "storage"), say=lambda _: None), asked.data
    for step in (raw_step(data), images_step(data), triplets_step(data), image_features_step(asked.encoded)):
        made, _ = run(step, work)
        assert [check.description for check in made.checks.values() if not check.passed] == []
    backbone = load_backbone(work, asked.encoded)
    inputs = load_inputs(work, asked.encoded, backbone)
    untrained = replace(asked, recipe=ZeroShot())
    groups = {("val", kind): inputs.query_groups(kind, "val")}
    counted = {group.category: len(group) for group in groups["val", kind]}
    counted["mean"] = sum(counted.values())
    assert not any(group.left_out for group in groups["val", kind])
    for asked_by in method_queries(work, untrained, backbone, inputs, groups, ("image_only", "sum")):
        metrics = evaluate(kind, asked_by.groups, asked_by.queries, unit_length(inputs.features)).metrics
        keys = metrics.select("category", pl.format("{}@{}", "metric", "k"))
        assert {(category, metric): counted[category] for category, metric in keys.rows()} == expected
        assert metrics["value"].is_between(0, 100).all()
