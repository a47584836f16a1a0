"""LaSCo in its published form: queries, corpora whose paths begin elsewhere, and files of another version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cir_assets.datasets.lasco import read_lasco
from cir_assets.datasets.tables import BrokenAnnotations
from tests.datasets.conftest import counts, subjects, write_json


def picture(number: int, part: str = "val2014") -> list[Any]:
    return [number, f"{part}/COCO_{part}_{number:012d}.jpg"]


def query(question: int, reference: list[Any], target: list[Any]) -> dict[str, Any]:
    return {
        "qid": question,
        "query-image": reference,
        "query-text": "The person is riding the bike",
        "target-image": target,
    }


def corpus(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": number, "path": f"val/{picture(number)[1]}"} for number in numbers]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_json(
        tmp_path / "lasco_val.json",
        [query(28714000, picture(28714), picture(42)), query(28714000, picture(42), picture(28714))],
    )
    write_json(tmp_path / "lasco_val_corpus.json", corpus(28714, 42, 73))
    write_json(tmp_path / "lasco_train.json", [query(9000, picture(9, "train2014"), picture(5, "train2014"))])
    return tmp_path


def test_the_corpus_is_the_gallery_and_pictures_go_by_number(folder: Path) -> None:
    read = read_lasco(folder)
    assert counts(read.triplets) == {("val", "all"): 2, ("train", "all"): 1}
    assert read.galleries.filter(split="val")["image"].to_list() == ["42", "73", "28714"]
    assert read.galleries.filter(split="train")["image"].to_list() == ["5", "9"]
    paths = dict(read.pictures.rows())
    # The corpus says val/val2014/…, the queries val2014/…: it is one picture.
    assert paths["42"] == "val2014/COCO_val2014_000000000042.jpg"
    assert paths["9"] == "train2014/COCO_train2014_000000000009.jpg"


def test_a_question_that_stands_there_again_gets_a_number(folder: Path) -> None:
    assert read_lasco(folder).triplets.filter(split="val")["triplet_id"].to_list() == [
        "28714000",
        "28714000-2",
    ]


def test_a_query_outside_the_corpus_is_dropped_and_told(folder: Path) -> None:
    write_json(folder / "lasco_val_corpus.json", corpus(28714, 42))
    write_json(
        folder / "lasco_val.json", [query(1, picture(42), picture(28714)), query(2, picture(42), picture(7))]
    )
    read = read_lasco(folder)
    assert read.triplets.filter(split="val")["triplet_id"].to_list() == ["1"]
    assert subjects(read, "unknown_picture") == ["val/2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qid": "9"}, "expected a whole number under 'qid'"),
        ({"query-image": 28714}, r"expected \[number, path\] under 'query-image', found 28714"),
        ({"query-image": [42, "val2014/42.jpg"]}, "expected the path of COCO 2014's picture 42"),
        ({"target-image": [7, picture(42)[1]]}, "expected the path of COCO 2014's picture 7"),
        ({"query-text": None}, "expected a text under 'query-text'"),
    ],
)
def test_files_of_another_version_are_refused_in_one_message(
    folder: Path, change: dict[str, Any], message: str
) -> None:
    write_json(folder / "lasco_val.json", [{**query(1, picture(42), picture(28714)), **change}])
    with pytest.raises(BrokenAnnotations, match=rf"lasco_val\.json, entry 0.*{message}"):
        read_lasco(folder)


def test_val_needs_its_corpus(folder: Path) -> None:
    (folder / "lasco_val_corpus.json").unlink()
    with pytest.raises(BrokenAnnotations, match=r"lasco_val\.json needs its gallery lasco_val_corpus\.json"):
        read_lasco(folder)
    with pytest.raises(BrokenAnnotations, match=r"holds neither lasco_train\.json nor lasco_val\.json"):
        read_lasco(folder / "absent")
