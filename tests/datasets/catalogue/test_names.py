"""Pictures are found by the names people write, and only where one picture can be meant."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import polars as pl
import pytest

from cir_assets.datasets.catalogue import read_catalogue
from cir_assets.datasets.tables import BrokenAnnotations
from tests.datasets.catalogue.conftest import HEADER, ONE, details, pictures, read_text, triplets
from tests.datasets.conftest import subjects


@pytest.mark.parametrize("value", [12, 12.0, "12", "12.0", "12.jpg"])
def test_numbers_name_pictures_as_they_are_written(tmp_path: Path, value: float | str) -> None:
    root = pictures(tmp_path / "p", "12.jpg", "007.jpg", "b.jpg")
    row = {"reference": value, "target": "007", "caption": "is red", "split": "val"}
    read = [read_text(root, json.dumps(row), name="t.jsonl")]
    read.append(read_text(root, ",".join(row), ",".join(map(str, row.values()))))
    pl.DataFrame([row]).write_parquet(tmp_path / "t.parquet")
    read.append(read_catalogue(root, tmp_path / "t.parquet"))
    assert [triplets(each) for each in read] == [[("12.jpg", "007.jpg", ["is red"])]] * 3


def test_a_number_that_lost_its_zeros_is_told(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "007.jpg", "b.jpg")
    with pytest.raises(BrokenAnnotations, match="line 1: no picture 7, a number: were there zeros before it"):
        read_text(root, '{"reference": 7, "target": "b", "caption": "x"}', name="t.jsonl")


NFD = unicodedata.normalize("NFD", "robe_été.jpg")


def test_names_that_differ_in_form_alone_are_found_where_one_is_meant(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", NFD, "Hat.JPG", "b.jpg")
    read = read_text(
        root, HEADER, "robe_été.jpg,hat.jpg,is red,val", "ROBE_ÉTÉ,p/b.jpg,is red,val", "b,HAT,x,val"
    )
    assert read.triplets.select("reference", "target").rows() == [
        (NFD, "Hat.JPG"),
        (NFD, "b.jpg"),
        ("b.jpg", "Hat.JPG"),
    ]
    assert details(read, "assumed") == [
        "1 name stands in the table in another Unicode normal form (first: robe_été.jpg is " + NFD + ")",
        "3 names stand in the table in other capitals (first: HAT is Hat.JPG)",
        "1 name stands in the table with the folder's name before them (first: p/b.jpg is b.jpg)",
    ]


def test_a_name_that_two_pictures_could_have_is_told_with_both(tmp_path: Path) -> None:
    composed = unicodedata.normalize("NFC", NFD)
    root = pictures(tmp_path / "p", "p0.jpg", "p0.png", "Hat.jpg", "hat.JPG", "b.jpg", NFD, composed)
    read = read_text(
        root,
        HEADER,
        "p0,b,is red,val",
        "HAT.jpg,b,is red,val",
        "Robe_été,b,is red,val",
        f"{NFD},{composed},is red,val",
    )
    assert triplets(read) == [(NFD, composed, ["is red"])]
    assert details(read, "unknown_picture") == [
        "line 2: p0 could be p0.jpg or p0.png; row dropped",
        "line 3: HAT.jpg could be Hat.jpg or hat.JPG; row dropped",
        f"line 4: Robe_été could be {NFD} or {composed} (they differ in Unicode normal form alone); row dropped",
    ]


def test_paths_out_of_the_folder_are_told_and_whole_paths_into_it_are_read(root: Path) -> None:
    read = read_text(root, HEADER, "../p0,p1,is red,val", f"{root}/p0.jpg,p1,is red,val", "/etc/p0,p1,x,val")
    assert triplets(read) == ONE
    assert subjects(read, "unknown_picture") == ["row-1", "row-3"]
