"""The contact sheet: a row a query, whatever its pictures and captions are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from cir_assets.reporting.inputs import ReportInputs
from cir_assets.reporting.pictures import contact_sheet, write_beside, write_contact_sheet


def test_the_contact_sheet_is_a_png_with_a_row_a_query(inputs: ReportInputs, tmp_path: Path) -> None:
    heights = []
    for each in (1, 2):
        file = write_contact_sheet(inputs, tmp_path / "deep" / f"{each}.png", each=each)
        with Image.open(file) as sheet:
            assert (sheet.format, sheet.mode) == ("PNG", "RGB")
            heights.append(sheet.height)
    assert heights[0] < heights[1] < 2 * heights[0]
    assert [file.name for file in (tmp_path / "deep").iterdir() if file.name.startswith(".")] == []


def test_a_contact_sheet_of_missing_pictures_and_endless_captions_is_still_drawn(
    inputs: ReportInputs, tmp_path: Path
) -> None:
    endless = inputs.rankings.with_columns(caption=pl.lit("w" * 5000 + " 裙子 \n <b>"))
    given = replace(inputs, rankings=endless, picture_path=lambda image: None)
    with Image.open(write_contact_sheet(given, tmp_path / "sheet.png")) as sheet:
        colours = sheet.getcolors(1 << 20)
    assert colours is not None
    assert (0xE9, 0xE6, 0xDE) in {colour for _, colour in colours}


def test_a_contact_sheet_without_queries_says_so() -> None:
    sheet = contact_sheet([], "shop", lambda image: None)
    assert len(sheet.getcolors(1 << 20) or []) > 2


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    file = write_beside(tmp_path / "page.html", b"first")
    blocked = tmp_path / "folder"
    (blocked / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"cannot write .*folder .*unchanged"):
        write_beside(blocked, b"second")
    assert file.read_bytes() == b"first"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "page.html"]
