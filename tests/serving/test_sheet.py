"""A search's answer as one picture: a card for each, five in a row, whatever files are there."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from cir_assets.serving.sheet import CARD, COLUMNS, GAP, LINE, SIDE, write_sheet
from tests.random_pictures import write_pictures


def test_rows_grow_with_what_was_found_and_a_missing_picture_is_an_empty_card(tmp_path: Path) -> None:
    names = [f"p{number}.jpg" for number in range(6)]
    write_pictures(tmp_path, names)
    (tmp_path / names[1]).unlink()
    found = [(name, tmp_path / name, 0.5) for name in names]
    heights = []
    for count in (COLUMNS, COLUMNS + 1):
        write_sheet(tmp_path / "sheet.png", tmp_path / names[0], "is red " * 60, found[:count], 10_000)
        with Image.open(tmp_path / "sheet.png") as sheet:
            heights.append(sheet.height)
            cards = [
                sheet.getpixel((GAP + place * (SIDE + GAP) + SIDE // 2, 3 * GAP + SIDE + SIDE // 2))
                for place in (0, 1)
            ]
    assert heights[1] - heights[0] == SIDE + LINE + GAP
    white = tuple(bytes.fromhex(CARD[1:]))
    assert (cards[0] == white, cards[1] == white) == (False, True)
