"""Rows: what is meant is read, what cannot be used is told, and a table of which much is broken is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from cir_assets.datasets.catalogue.names import PictureNames
from cir_assets.datasets.tables import BrokenAnnotations
from tests.datasets.catalogue.conftest import HEADER, details, pictures, read_text


@pytest.mark.parametrize(
    "cell",
    [
        "p0.jpg|red dress 1.jpg|hat.jpg",
        "p0 red dress 1.jpg hat.jpg",
        "p0.jpg,red dress 1,hat",
        "p0; red dress 1.jpg; hat;",
        "['p0.jpg', 'red dress 1.jpg', 'hat.jpg']",
        '["p0.jpg", "red dress 1.jpg", "hat.jpg"]',
        "['p0.jpg' 'red dress 1.jpg'\n 'hat.jpg']",
        "[p0.jpg, red dress 1.jpg, hat.jpg]",
    ],
)
def test_members_are_read_however_they_are_listed(tmp_path: Path, cell: str) -> None:
    root = pictures(tmp_path / "p", "p0.jpg", "red dress 1.jpg", "hat.jpg", "x,y|z.jpg")
    names = PictureNames([path.name for path in root.iterdir()], root)
    assert names.members(cell) == (["p0.jpg", "red dress 1.jpg", "hat.jpg"], [])
    assert names.members("red dress 1.jpg") == (["red dress 1.jpg"], [])
    assert names.members("x,y|z") == (["x,y|z.jpg"], [])


def test_members_that_are_not_there_are_told_and_the_set_goes_on(root: Path) -> None:
    row = "p0,p1,is red,val"
    read = read_text(root, f"{HEADER},members", f"{row},\"['p2.jpg', 'gone.jpg']\"", f"{row},\"['p2.jpg', \"")
    assert read.triplets["set_members"].to_list() == [["p0.jpg", "p2.jpg"], ["p0.jpg"]]
    assert details(read, "unknown_picture") == [
        "line 2: no picture gone.jpg; left out of its set",
        "line 3: no picture ['p2.jpg'; left out of its set",
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["split", "val", "eval"], "line 3: split is 'eval', expected one of train, val, test .*validation"),
        (["split", "val", "", "val"], "line 3: either every row has a split or none; .* 1 of 3 are empty"),
        (["category", "dress", "Mean"], "line 3: a category cannot be called 'Mean', as the mean"),
        (["category", "all", ""], "line 2: a category cannot be called 'all' where other rows have none"),
    ],
)
def test_columns_that_would_mislead_are_refused_by_line(root: Path, lines: list[str], message: str) -> None:
    column, *values = lines
    rows = [f"p{number},p{number + 1},is red,{value}" for number, value in enumerate(values)]
    with pytest.raises(BrokenAnnotations, match=message):
        read_text(root, f"reference,target,caption,{column}", *rows)


def test_a_category_called_all_in_every_row_is_none_at_all(root: Path) -> None:
    read = read_text(root, f"{HEADER},category", "p0,p1,is red,val,all", "p0,p1,is, red,val,all")
    assert read.galleries["category"].unique().to_list() == ["all"]


def test_a_triplet_that_stands_there_twice_is_told_and_kept(root: Path) -> None:
    read = read_text(root, HEADER, "p0,p1,is red,val", "p1,p0,is red,val", "p0.jpg,p1.jpg, is red,val")
    assert read.triplets.height == 3
    assert details(read, "repeated_triplet") == ["line 4: says the same as line 2; kept"]


def test_a_table_of_which_much_is_broken_is_refused(root: Path) -> None:
    rows = ["p0,p1,is red,val"] * 30 + ["p0,p1,is, red,val"] * 20
    with pytest.raises(BrokenAnnotations, match=r"20 of 50 rows cannot be read \(first: line 32: expected 4"):
        read_text(root, HEADER, *rows)


def test_rows_of_no_reference_are_told(root: Path) -> None:
    read = read_text(root, HEADER, "p0,p1,is red,val", ",p1,is red,val")
    assert details(read, "broken_row") == ["line 3: no picture under 'reference'; row dropped"]
