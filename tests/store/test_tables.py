"""A table is there whole and as its contract says, or it is said which step makes it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cir_assets.store.contracts import ACCEPTED_PICTURES, DATA_ISSUES, IMAGES, WrongFrame, empty
from cir_assets.store.made import NotMade
from cir_assets.store.tables import read_table, write_table


def test_what_was_written_is_read_again_and_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    for images in (["a", "b"], ["c"]):
        frame = pl.DataFrame({"image": images, "image_key": images})
        file = write_table(frame, folder, ACCEPTED_PICTURES)
        assert read_table(folder, ACCEPTED_PICTURES)["image"].to_list() == images
    assert list(folder.iterdir()) == [file]


def test_the_parts_of_several_steps_lie_beside_each_other(tmp_path: Path) -> None:
    for step in ("images", "triplets"):
        write_table(empty(DATA_ISSUES), tmp_path, DATA_ISSUES, of=step)
    assert sorted(file.name for file in (tmp_path / "data_issues").iterdir()) == [
        "images.parquet",
        "triplets.parquet",
    ]


def test_what_is_not_as_the_contract_says_is_refused_and_what_was_there_stays(tmp_path: Path) -> None:
    write_table(pl.DataFrame({"image": ["a"], "image_key": ["k"]}), tmp_path, ACCEPTED_PICTURES)
    with pytest.raises(
        WrongFrame, match="accepted_pictures: column image_key must be String, found no such column"
    ):
        write_table(pl.DataFrame({"image": ["b"]}), tmp_path, ACCEPTED_PICTURES)
    assert read_table(tmp_path, ACCEPTED_PICTURES)["image"].to_list() == ["a"]


def test_a_table_that_is_not_there_names_the_step_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(NotMade, match=r"images\.parquet is not there: materialize shop/images first"):
        read_table(tmp_path / "shop", IMAGES)
