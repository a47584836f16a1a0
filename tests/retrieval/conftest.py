"""Queries of real annotation files as tables, and inputs drawn as the parity data says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cir_assets.datasets.tables import TRIPLETS, frame
from cir_assets.retrieval.evaluation import Evaluation
from cir_assets.retrieval.metrics import MEAN_CATEGORY, metric_name

Tables = tuple[list[str], pl.DataFrame, pl.DataFrame]
"""Image names in file order, galleries, triplets."""


def figures_of(evaluation: Evaluation, category: str = MEAN_CATEGORY) -> dict[str, float]:
    """A category's figures in percent, as ``{"recall@10": ...}``; "headline" too for the mean."""
    rows = evaluation.metrics.filter(pl.col("category") == category)
    return {metric_name((row["metric"], row["k"])): row["value"] for row in rows.iter_rows(named=True)}


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
    usual = {"split": "val", "category": "all", "captions": ["a caption"], "further_targets": []}
    return frame(TRIPLETS, (usual | row for row in rows))


@pytest.fixture(scope="session")
def drawn() -> Callable[[dict[str, Any]], Tensor]:
    """Draw a parity input from its seed; fails if this numpy draws another stream than the one recorded."""

    def draw(recipe: dict[str, Any]) -> Tensor:
        values = np.random.default_rng(recipe["seed"]).standard_normal(recipe["shape"]).astype(np.float32)
        digest = hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()
        assert digest == recipe["sha256_le_float32"], (
            f"numpy {np.__version__} draws another stream from seed {recipe['seed']} than the reference was given: "
            "install the numpy of constraints.txt"
        )
        return torch.from_numpy(values)

    return draw


@pytest.fixture(scope="session")
def real_queries(parity: Path) -> dict[str, NDArray[Any]]:
    """Galleries and queries of the real annotation files; ``tests/parity/excerpts.py`` says which and how."""
    with np.load(parity / "queries.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def fashioniq_tables(real_queries: dict[str, NDArray[Any]]) -> Callable[[str], Tables]:
    """FashionIQ's real val queries of one category, over pictures called by their position."""

    def read(category: str) -> Tables:
        images = [f"{category}-{position}" for position in range(int(real_queries[f"{category}_gallery"]))]
        triplets = [
            {
                "triplet_id": f"{category}-val-{index}",
                "category": category,
                "reference": images[reference],
                "target": images[target],
                "captions": ["a caption", "another"],
            }
            for index, (reference, target) in enumerate(real_queries[f"{category}_queries"])
        ]
        return images, gallery_table("val", category, images), triplet_table(triplets)

    return read


@pytest.fixture(scope="session")
def cirr_tables(real_queries: dict[str, NDArray[Any]]) -> Callable[[str], Tables]:
    """CIRR's real queries of one split, "val" or "test1"."""

    def read(split: str) -> Tables:
        images = real_queries[f"{split}_gallery"].tolist()
        name = "test" if split == "test1" else split
        triplets = [
            {
                "triplet_id": str(pair),
                "split": name,
                "reference": images[reference],
                "target": None if split == "test1" else images[target],
                "set_id": str(set_id),
                "set_members": [images[member] for member in members],
            }
            for (pair, set_id), (reference, target, *members) in zip(
                real_queries[f"{split}_ids"], real_queries[f"{split}_queries"], strict=True
            )
        ]
        return images, gallery_table(name, "all", images), triplet_table(triplets)

    return read
