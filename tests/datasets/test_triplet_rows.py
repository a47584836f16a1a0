"""Rows as readers make them keep to their contracts, and a triplet without its pictures falls and is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from cir_assets.datasets.tables import DATA_ISSUES, GALLERIES, TRIPLETS, BrokenAnnotations, frame
from cir_assets.datasets.triplet_rows import gallery_rows, triplet_row, with_known_pictures

FILE = Path("cap.val.json")


def test_a_gallery_keeps_the_order_of_its_pictures() -> None:
    table = frame(GALLERIES, gallery_rows("val", ["b", "a"], "dress"))
    assert table.select("split", "category", "position", "image").rows() == [
        ("val", "dress", 0, "b"),
        ("val", "dress", 1, "a"),
    ]


def test_a_query_with_a_set_of_its_own_names_it_as_itself() -> None:
    rows = [
        triplet_row("1", "train", "a", "b", ("is red", "is longer"), further_targets=("c",)),
        triplet_row("2", "val", "a", None, ["is red"], category="dress", set_members=("a", "b")),
    ]
    plain, of_a_set = frame(TRIPLETS, rows).iter_rows(named=True)
    assert (plain["category"], plain["further_targets"], plain["set_id"]) == ("all", ["c"], None)
    assert plain["captions"] == ["is red", "is longer"]
    assert (of_a_set["target"], of_a_set["set_id"], of_a_set["set_members"]) == (None, "2", ["a", "b"])


def test_a_triplet_that_names_an_unknown_picture_falls_and_is_told() -> None:
    rows = [triplet_row(str(n), "val", "a", target, []) for n, target in enumerate(["b", None, "x"])]
    rows.append(triplet_row("3", "val", "y", "x", []))
    kept, issues = with_known_pictures(rows, {"a", "b"}, FILE, "split.val.json")
    assert kept == rows[:2]
    assert frame(DATA_ISSUES, issues).rows() == [
        ("unknown_picture", "val/2", "x not in split.val.json; triplet dropped"),
        ("unknown_picture", "val/3", "x, y not in split.val.json; triplet dropped"),
    ]
    assert with_known_pictures([], set(), FILE, "split.val.json") == ([], [])


def test_files_of_two_data_sets_are_refused() -> None:
    rows = [triplet_row("1", "val", "x", "y", []), triplet_row("2", "val", "z", None, [])]
    with pytest.raises(
        BrokenAnnotations,
        match=r"cap\.val\.json: none of its 2 triplets has its pictures in split\.val\.json .the first lacks x, y.",
    ):
        with_known_pictures(rows, {"a"}, FILE, "split.val.json")
