"""A table is there whole, or it is said which step makes it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cir_assets.store.made import NotMade
from cir_assets.store.tables import read_table, write_table


def test_what_was_written_is_read_again_and_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    for images in (["a", "b"], ["c"]):
        file = write_table(pl.DataFrame({"image": images}), folder, "images")
        assert read_table(folder, "images")["image"].to_list() == images
    assert list(folder.iterdir()) == [file]


def test_a_table_that_is_not_there_names_the_step_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(NotMade, match=r"images\.parquet is not there: materialize shop/images first"):
        read_table(tmp_path / "shop", "images")
    with pytest.raises(NotMade, match="materialize shop/data_issues first"):
        read_table(tmp_path / "shop", "data_issues/tiny_clip")
