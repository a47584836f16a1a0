"""Small data sets written to disk, and the real annotations read once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from cir_assets.datasets.fashioniq import read_fashioniq
from cir_assets.datasets.tables import Annotations


def write_json(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def write_picture(file: Path, colour: tuple[int, int, int] = (200, 30, 30), side: int = 8) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), colour).save(file)
    return file


def write_fashioniq(
    folder: Path, category: str, split: str, images: Sequence[Any], triplets: Sequence[Any]
) -> Path:
    write_json(folder / "image_splits" / f"split.{category}.{split}.json", list(images))
    write_json(folder / "captions" / f"cap.{category}.{split}.json", list(triplets))
    return folder


def triplet(
    candidate: str, target: str | None = None, captions: Sequence[str] = ("a", "b")
) -> dict[str, Any]:
    with_target = {} if target is None else {"target": target}
    return {**with_target, "candidate": candidate, "captions": list(captions)}


def counts(table: pl.DataFrame) -> dict[tuple[str, str], int]:
    return {(split, category): n for split, category, n in table.group_by("split", "category").len().rows()}


def subjects(annotations: Annotations, kind: str) -> list[str]:
    return annotations.issues.filter(pl.col("kind") == kind)["subject"].to_list()


@pytest.fixture(scope="session")
def fashioniq_folder(real_data: Path) -> Path:
    return real_data / "fashion-iq"


@pytest.fixture(scope="session")
def fashioniq(fashioniq_folder: Path) -> Annotations:
    return read_fashioniq(fashioniq_folder)
