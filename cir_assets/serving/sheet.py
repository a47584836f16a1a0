"""What a search found as one picture: the reference and the change above, the best below, in rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cir_assets.pictures.opening import UnreadablePicture
from cir_assets.pictures.shrinking import small_picture
from cir_assets.store.files import write_whole

SIDE, GAP, LINE, COLUMNS = 180, 14, 22, 5
PAPER, CARD, INK, QUIET = "#f6f4ef", "#ffffff", "#23262b", "#565d67"


def write_sheet(
    destination: Path, reference: Path, text: str, found: Sequence[tuple[str, Path, float]], pixel_limit: int
) -> None:
    """Draw a sheet as PNG, beside and then renamed.

    Args:
        destination: the file.
        reference: the reference picture.
        text: what should differ.
        found: (id, file, score), best first.
        pixel_limit: pictures of more pixels are not opened.
    """
    rows = -(-len(found) // COLUMNS)
    width = GAP + COLUMNS * (SIDE + GAP)
    height = 2 * GAP + SIDE + rows * (SIDE + LINE + GAP) + GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    title, small = ImageFont.load_default(22), ImageFont.load_default(13)
    _put(sheet, reference, GAP, GAP, pixel_limit)
    draw.multiline_text(
        (2 * GAP + SIDE, GAP + 10), _wrapped(text, draw, title, width - SIDE - 4 * GAP), INK, title
    )
    for place, (image, path, score) in enumerate(found):
        left = GAP + place % COLUMNS * (SIDE + GAP)
        top = 3 * GAP + SIDE + place // COLUMNS * (SIDE + LINE + GAP)
        _put(sheet, path, left, top, pixel_limit)
        draw.text((left, top + SIDE + 3), f"{place + 1}  {image[:18]}  {score:.3f}", QUIET, small)
    with write_whole(destination) as beside:
        sheet.save(beside, "PNG")


def _put(sheet: Image.Image, picture: Path, left: int, top: int, pixel_limit: int) -> None:
    ImageDraw.Draw(sheet).rectangle((left, top, left + SIDE, top + SIDE), CARD)
    try:
        small = small_picture(picture, SIDE, pixel_limit)
    except UnreadablePicture:
        return
    sheet.paste(small, (left + (SIDE - small.width) // 2, top + (SIDE - small.height) // 2))


def _wrapped(
    text: str, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int
) -> str:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines[:6])
