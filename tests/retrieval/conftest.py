"""Real annotation files as tables, and inputs drawn as the parity data says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from cir_assets.datasets.tables import TRIPLETS

Tables = tuple[list[str], pl.DataFrame, pl.DataFrame]
"""Image names in file order, galleries, triplets."""


def gallery_table(split: str, category: str, images: list[str]) -> pl.DataFrame:
    """Lay out one gallery in file order."""
    return pl.DataFrame({"image": images}).select(
        split=pl.lit(split),
        category=pl.lit(category),
        position=pl.int_range(pl.len(), dtype=pl.Int32),
        image="image",
    )


def triplet_table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Lay out triplets; what a row does not name is split val, category all, one caption, no set."""
    usual = {
        "split": "val",
        "category": "all",
        "target": None,
        "captions": ["a caption"],
        "further_targets": [],
        "set_id": None,
        "set_members": None,
    }
    return pl.DataFrame([usual | row for row in rows], schema=TRIPLETS.schema)


@pytest.fixture(scope="session")
def drawn() -> Callable[[dict[str, Any]], Tensor]:
    """Draw a parity input from its seed; skips if this numpy draws another stream than the one recorded."""

    def draw(recipe: dict[str, Any]) -> Tensor:
        values = np.random.default_rng(recipe["seed"]).standard_normal(recipe["shape"]).astype(np.float32)
        digest = hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()
        if digest != recipe["sha256_le_float32"]:
            pytest.skip(f"numpy {np.__version__} draws another stream from seed {recipe['seed']}")
        return torch.from_numpy(values)

    return draw


@pytest.fixture(scope="session")
def fashioniq_tables(real_data: Path) -> Callable[[str], Tables]:
    """Read FashionIQ's real val annotations of one category."""

    def read(category: str) -> Tables:
        folder = real_data / "fashion-iq"
        images = json.loads((folder / f"image_splits/split.{category}.val.json").read_text("utf-8"))
        rows = json.loads((folder / f"captions/cap.{category}.val.json").read_text("utf-8"))
        triplets = [
            {
                "triplet_id": f"{category}-val-{index}",
                "category": category,
                "reference": row["candidate"],
                "target": row["target"],
                "captions": row["captions"],
            }
            for index, row in enumerate(rows)
        ]
        return images, gallery_table("val", category, images), triplet_table(triplets)

    return read


@pytest.fixture(scope="session")
def cirr_tables(real_data: Path) -> Callable[[str], Tables]:
    """Read CIRR's real annotations of one split, "val" or "test1"."""

    def read(split: str) -> Tables:
        folder = real_data / "cirr"
        images = list(json.loads((folder / f"image_splits/split.rc2.{split}.json").read_text("utf-8")))
        rows = json.loads((folder / f"captions/cap.rc2.{split}.json").read_text("utf-8"))
        name = "test" if split == "test1" else split
        triplets = [
            {
                "triplet_id": str(row["pairid"]),
                "split": name,
                "reference": row["reference"],
                "target": row.get("target_hard"),
                "captions": [row["caption"]],
                "set_id": str(row["img_set"]["id"]),
                "set_members": row["img_set"]["members"],
            }
            for row in rows
        ]
        return images, gallery_table(name, "all", images), triplet_table(triplets)

    return read
