"""Files of features come back as they were written, and what is wrong with one is said in one message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from cir_assets.store.feature_files import BrokenFeatures, FeatureFile, read_features, write_features

HELD = FeatureFile(
    images=["a/1.jpg", "2"],
    image_keys=["k1", "id:2"],
    preprocessing="targetpad1.25@64",
    backbone="b1",
    features=np.array([[1.0, 2.0, 3.0], [0.5, 0.0, -4.0]], dtype=np.float32),
)


def of_table(file: Path, **changes: Any) -> Path:
    usual = {
        "image": ["1", "2"],
        "preprocessing": "clip@64",
        "backbone": "b1",
        "feature": [[1.0, 2.0], [3.0, 4.0]],
    }
    pl.DataFrame(
        {name: value for name, value in {**usual, **changes}.items() if value is not None}
    ).write_parquet(file)
    return file


@pytest.mark.parametrize("name", ["f.parquet", "f.safetensors"])
def test_what_is_written_comes_back(tmp_path: Path, name: str) -> None:
    write_features(tmp_path / name, HELD)
    read = read_features(tmp_path / name)
    assert (read.features == HELD.features).all()
    assert read.features.dtype == np.float32
    assert (read.images, read.image_keys) == (HELD.images, HELD.image_keys)
    assert (read.preprocessing, read.backbone) == (HELD.preprocessing, HELD.backbone)


def test_a_table_of_one_s_own_needs_no_keys_and_may_have_doubles(tmp_path: Path) -> None:
    read = read_features(of_table(tmp_path / "own.parquet"))
    assert read.image_keys == ["id:1", "id:2"]
    assert read.features.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": None}, "no column backbone; expected image, image_key"),
        ({"backbone": ["b1", "b2"]}, "expected one text under backbone, found b1, b2; write a file for each"),
        ({"preprocessing": [None, None]}, "expected one text under preprocessing, found None"),
        ({"image": ["1", "1"]}, "1 stands in row 1 and in row 2"),
        ({"image": ["1", " "]}, "row 2: expected a picture's id under image"),
        ({"feature": [[1.0, 2.0], [3.0]]}, r"row 2 \(2\): its feature has 1 numbers, that of row 1 2"),
        ({"feature": [[1.0, 2.0], None]}, r"row 2 \(2\): its feature has 0 numbers"),
        ({"feature": [[1.0, 2.0], [float("nan"), 1.0]]}, r"row 2 \(2\): its feature holds NaN or infinity"),
        ({"feature": [[1.0, float("inf")], [3.0, 1.0]]}, r"row 1 \(1\): its feature holds NaN or infinity"),
        ({"feature": [[1.0, None], [3.0, 1.0]]}, r"row 1 \(1\): its feature holds NaN or infinity"),
        ({"feature": [[1.0, 2.0], [0.0, 0.0]]}, r"row 2 \(2\): its feature is zero"),
        ({"feature": ["x", "y"]}, "cannot be read as parquet"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_by_row(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BrokenFeatures, match=message):
        read_features(of_table(tmp_path / "f.parquet", **changes))


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(BrokenFeatures, match=r"expected a file of features named \.parquet or \.safetensors"):
        read_features(tmp_path / "f.npy")
    with pytest.raises(BrokenFeatures, match="cannot be read as safetensors"):
        read_features(tmp_path / "absent.safetensors")
    (tmp_path / "half.parquet").write_bytes(b"PAR1")
    with pytest.raises(BrokenFeatures, match=r"half\.parquet cannot be read as parquet"):
        read_features(tmp_path / "half.parquet")
    save_file({"x": np.zeros((1, 2), dtype=np.float32)}, tmp_path / "x.safetensors")
    with pytest.raises(BrokenFeatures, match="expected a tensor features and images"):
        read_features(tmp_path / "x.safetensors")
    about = {"images": json.dumps(["1"]), "preprocessing": "clip@64", "backbone": "b1"}
    save_file({"features": np.ones((2, 3), dtype=np.float32)}, tmp_path / "y.safetensors", about)
    with pytest.raises(BrokenFeatures, match=r"of shape \(2, 3\), with 1 images and 1 image_keys"):
        read_features(tmp_path / "y.safetensors")
