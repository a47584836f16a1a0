"""CIRCO's real annotations, and files that are broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cir_assets.datasets.circo import INDEX, read_circo
from cir_assets.datasets.tables import Annotations, BrokenAnnotations
from tests.datasets.conftest import counts, write_json, write_picture


@pytest.fixture(scope="module")
def circo(real_data: Path) -> Annotations:
    return read_circo(real_data / "circo")


def test_the_real_files_give_every_query_and_true_target(circo: Annotations) -> None:
    assert counts(circo.triplets) == {("val", "all"): 220, ("test", "all"): 800}
    val, test = (circo.triplets.filter(pl.col("split") == split) for split in ("val", "test"))
    truths = val["further_targets"].list.len() + 1
    assert (truths.sum(), truths.min(), truths.max()) == (916, 1, 14)
    assert test["target"].null_count() == 800
    assert test["further_targets"].list.len().max() == 0
    assert test["reference"].n_unique() == 798


def test_queries_count_from_zero_in_each_split_and_pictures_go_by_number(circo: Annotations) -> None:
    for split, queries in (("val", 220), ("test", 800)):
        ids = circo.triplets.filter(pl.col("split") == split)["triplet_id"]
        assert ids.to_list() == [str(number) for number in range(queries)]
    paths = dict(circo.pictures.rows())
    assert paths["271520"] == "000000271520.jpg"


def test_the_target_and_the_reference_are_no_further_targets(circo: Annotations) -> None:
    val = circo.triplets.filter(pl.col("split") == "val")
    for row in val.iter_rows(named=True):
        assert row["target"] not in row["further_targets"]
        assert row["reference"] not in [row["target"], *row["further_targets"]]


QUERY: dict[str, Any] = {
    "reference_img_id": 3,
    "target_img_id": 10,
    "relative_caption": "two dogs",
    "shared_concept": "a dog",
    "gt_img_ids": [10, 2],
    "id": 0,
}


def test_the_gallery_is_the_whole_collection_by_number(tmp_path: Path) -> None:
    write_json(tmp_path / "annotations" / "val.json", [QUERY])
    pictures = tmp_path / "COCO2017_unlabeled" / "unlabeled2017"
    for number in (2, 3, 10, 7):
        write_picture(pictures / f"{number:012d}.jpg")
    write_picture(pictures / "thumbnail.jpg")
    assert read_circo(tmp_path).galleries["image"].to_list() == ["2", "3", "7", "10"]
    write_json(
        tmp_path / "COCO2017_unlabeled" / "annotations" / INDEX,
        {"images": [{"id": number} for number in (10, 3, 2, 99)]},
    )
    listed = read_circo(tmp_path)
    assert listed.galleries["image"].to_list() == ["2", "3", "10", "99"]
    assert listed.picture_root == pictures


def test_a_list_of_another_collection_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "annotations" / "val.json", [QUERY])
    write_json(tmp_path / "annotations" / INDEX, {"images": [{"id": 3}]})
    with pytest.raises(BrokenAnnotations, match=f"{INDEX} does not list picture 2"):
        read_circo(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference_img_id": "3"}, "expected a whole number under 'reference_img_id', found '3'"),
        ({"gt_img_ids": None}, "expected a list of numbers under 'gt_img_ids'"),
        ({"gt_img_ids": ["10"]}, "expected a list of numbers under 'gt_img_ids'"),
        ({"relative_caption": 1}, "expected a text under 'relative_caption'"),
        ({}, "id 0 stands there twice"),
    ],
)
def test_a_broken_entry_is_told_by_file_and_entry(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    entry = {**QUERY, "id": 1, **change} if change else QUERY
    write_json(tmp_path / "annotations" / "val.json", [QUERY, entry])
    with pytest.raises(BrokenAnnotations, match=rf"val\.json, entry 1: {message}"):
        read_circo(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenAnnotations, match=r"holds neither val\.json nor test\.json"):
        read_circo(tmp_path)


def test_pictures_of_another_ending_or_in_a_folder_below_are_found(tmp_path: Path) -> None:
    write_json(tmp_path / "annotations" / "val.json", [QUERY])
    pictures = tmp_path / "unlabeled2017"
    for name in ("000000000002.png", "000000000003.JPG", "more/000000000010.jpg", "000000000077.jpeg"):
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        (pictures / name).touch()
    assert dict(read_circo(tmp_path).pictures.rows()) == {
        "2": "000000000002.png",
        "3": "000000000003.JPG",
        "10": "more/000000000010.jpg",
        "77": "000000000077.jpeg",
    }
