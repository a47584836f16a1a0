"""What search reads is there whole or it is said which asset makes it again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cir_assets.serving.export import (
    CURRENT,
    BrokenExport,
    Exported,
    NothingExported,
    current,
    every_export,
    export,
    read_about,
)
from cir_assets.store.contracts import SEARCH_EXAMPLES, empty

ABOUT = Exported(
    dataset="shop",
    backbone="tiny_clip",
    recipe="quick",
    method="sum",
    share=None,
    champion=None,
    champion_since=None,
    headline=None,
    models={},
    backbone_folder="backbones/tiny_clip",
    backbone_version="0",
    picture_root="raw/shop",
    padding="targetpad",
    target_ratio=1.25,
    pixel_limit=1_000,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, exported once."""
    place = tmp_path / "shop" / "tiny_clip" / "quick"
    pictures = pl.DataFrame(
        {"image": ["a", "b"], "path": ["a.jpg", "b.jpg"], "category": "all", "image_key": ["1", "2"]}
    )
    export(place, "v1", ABOUT, np.array([[3, 4], [0, 2]], np.float32), pictures, empty(SEARCH_EXAMPLES))
    return place


def test_features_are_kept_as_unit_vectors_and_norms(folder: Path) -> None:
    version = current(folder)
    assert np.load(version / "features.npy").tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 1]]
    assert np.load(version / "norms.npy").tolist() == [5, 2]
    assert read_about(version) == ABOUT


def test_exports_are_found_by_their_data_set(folder: Path) -> None:
    root = folder.parents[2]
    assert every_export(root) == every_export(root, "shop") == [folder]
    assert every_export(root, "other") == []


def test_what_was_never_exported_or_points_nowhere_names_the_asset(folder: Path) -> None:
    for content in ("", "{}", "[]"):
        (folder / CURRENT).write_text(content)
        with pytest.raises(NothingExported, match="materialize the asset shop/tiny_clip/quick/search"):
            current(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "does not read"),
        ("[]", "is of another form than this version writes: it lacks backbone, "),
        (json.dumps({**asdict(ABOUT), "colour": "red"}), "it has an unknown colour"),
    ],
)
def test_an_export_of_another_form_is_refused_with_the_mend(folder: Path, content: str, said: str) -> None:
    (current(folder) / "search.json").write_text(content)
    with pytest.raises(BrokenExport) as refused:
        read_about(current(folder))
    assert said in str(refused.value)
    assert str(refused.value).endswith("materialize the asset shop/tiny_clip/quick/search again")
