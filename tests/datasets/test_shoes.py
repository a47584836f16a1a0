"""Shoes' real annotations, and files that are broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cir_assets.datasets.shoes import read_shoes
from cir_assets.datasets.tables import Annotations, BrokenAnnotations
from tests.datasets.conftest import counts, subjects, write_json


@pytest.fixture(scope="module")
def shoes(real_data: Path) -> Annotations:
    return read_shoes(real_data / "shoes")


def write_shoes(folder: Path, train: str, evaluated: str, triplets: list[dict[str, Any]]) -> Path:
    (folder / "train_im_names.txt").write_text(train)
    (folder / "eval_im_names.txt").write_text(evaluated)
    write_json(folder / "relative_captions_shoes.json", triplets)
    return folder


def said(reference: str, target: str) -> dict[str, str]:
    return {"ReferenceImageName": reference, "ImageName": target, "RelativeCaption": "is red"}


def test_the_real_files_give_every_triplet_and_both_galleries(shoes: Annotations) -> None:
    assert counts(shoes.triplets) == {("train", "all"): 8_990, ("val", "all"): 1_761}
    assert counts(shoes.galleries) == {("train", "all"): 10_000, ("val", "all"): 4_658}
    assert shoes.pictures.height == 14_658


def test_the_triplets_whose_target_is_their_reference_are_told(shoes: Annotations) -> None:
    told = subjects(shoes, "reference_is_target")
    assert [subject for subject in told if subject.startswith("val/")] == ["val/8619"]
    assert len(told) == shoes.issues.height == 27


def test_the_real_captions_are_read_as_they_stand(shoes: Annotations) -> None:
    captions = shoes.triplets["captions"].explode(empty_as_null=False)
    assert captions.n_unique() == 8_528
    first = shoes.triplets.filter(pl.col("triplet_id") == "0").row(0, named=True)
    assert (first["reference"], first["target"]) == ("img_womens_clogs_512", "img_womens_clogs_851")
    assert first["captions"] == ["is more of a textured material"]


def test_a_triplet_between_the_splits_or_of_an_unknown_picture_is_dropped_and_told(tmp_path: Path) -> None:
    triplets = [said("a.jpg", "b.jpg"), said("a.jpg", "c.jpg"), said("c.jpg", "x.jpg")]
    read = read_shoes(write_shoes(tmp_path, "a.jpg\nb.jpg\n", "c.jpg\r\nd.jpg\n\n", triplets))
    assert read.triplets["triplet_id"].to_list() == ["0"]
    assert subjects(read, "mixed_splits") == ["train/1"]
    assert subjects(read, "unknown_picture") == ["val/2"]


def test_pictures_are_found_in_the_folders_they_come_in(tmp_path: Path) -> None:
    picture = tmp_path / "womens_boots" / "0" / "a.jpg"
    picture.parent.mkdir(parents=True)
    picture.touch()
    read = read_shoes(write_shoes(tmp_path, "a.jpg\nb.jpg\n", "c.jpg\n", [said("a.jpg", "b.jpg")]))
    assert dict(read.pictures.rows()) == {"a": "womens_boots/0/a.jpg", "b": "b.jpg", "c": "c.jpg"}


@pytest.mark.parametrize(
    ("train", "triplets", "message"),
    [
        ("a.jpg\nb.jpg\n", [{"reference": "a", "target": "b"}], r"entry 0: expected a text under 'Reference"),
        ("a.jpg\nc.jpg\n", [], r"both name c\.jpg \(1 in all\)"),
        ("a.jpg\na.jpg\n", [], r"train_im_names\.txt: a\.jpg stands there twice"),
        ("boots/a.jpg\n", [], r"train_im_names\.txt, line 1: .* holds a path"),
        ("\n", [], r"train_im_names\.txt names no picture"),
        ("a.jpg\n", [said("x.jpg", "y.jpg")], r"none of its 1 triplets .* \(the first lacks x, y\)"),
    ],
)
def test_files_of_another_version_are_refused_in_one_message(
    tmp_path: Path, train: str, triplets: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(BrokenAnnotations, match=message):
        read_shoes(write_shoes(tmp_path, train, "c.jpg\n", triplets))
