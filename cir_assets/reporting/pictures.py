"""The contact sheet: a few queries as one picture, for a UI's preview."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cir_assets.pictures.settings import PIXEL_LIMIT
from cir_assets.pictures.shrinking import small_pictures
from cir_assets.reporting.inputs import ReportInputs
from cir_assets.reporting.ladder import ladders
from cir_assets.reporting.sheets import SHEET_SPLIT, SHOWN_RETRIEVED, Sheet, choose_sheets
from cir_assets.store.files import write_whole

TILE = 88
"""Side of a picture in pixels."""

_PAPER = "#f7f6f2"
_CARD = "#ffffff"
_INK = "#1f2328"
_MUTED = "#656c76"
_LINE = "#d9d6cc"
_TARGET = "#0f766e"
_MISSING = "#e9e6de"


def write_contact_sheet(inputs: ReportInputs, destination: Path, *, each: int = 2) -> Path:
    """Draw a few best, median and worst queries of the method served as one PNG, as a preview in a UI.

    Args:
        inputs: as for the report.
        destination: the PNG, written beside and renamed; its folder is made.
        each: how many of each kind.

    Returns:
        ``destination``. Where there are no queries the picture says so.

    Raises:
        OSError: it cannot be written.
    """
    content = io.BytesIO()
    draw_contact_sheet(inputs, each=each).save(content, "PNG", optimize=True)
    return write_beside(destination, content.getvalue())


def draw_contact_sheet(inputs: ReportInputs, *, each: int = 2) -> Image.Image:
    """The same as a picture, RGB.

    Args:
        inputs: as for the report.
        each: how many of each kind.
    """
    shown = [
        ladder
        for ladder in ladders(inputs.own_evaluations, inputs.metrics)
        if ladder.split == SHEET_SPLIT
        and inputs.sheet_protocol in (None, ladder.protocol)
        and ladder.served is not None
    ]
    sheets = choose_sheets(inputs, shown[0], each) if shown else []
    title = f"{inputs.dataset} · {inputs.backbone} · {inputs.recipe}"
    return contact_sheet(
        sheets, title, inputs.picture_path, top=SHOWN_RETRIEVED, pixel_limit=inputs.pixel_limit
    )


def as_markdown(picture: Image.Image, title: str) -> str:
    """A picture within Markdown text, as JPEG: the UI shows it where the metadata stands.

    Args:
        picture: RGB.
        title: what a reader hears who does not see it; one line without brackets.

    Returns:
        ``![title](data:image/jpeg;base64,...)``.
    """
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=82, optimize=True)
    return f"![{title}](data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()})"


def contact_sheet(
    sheets: Sequence[Sheet],
    title: str,
    picture_path: Callable[[str], Path | None],
    *,
    top: int = 10,
    pixel_limit: int = PIXEL_LIMIT,
) -> Image.Image:
    """Draw sheets below each other: reference, caption, target, then the top pictures, the target framed.

    Args:
        sheets: in order.
        title: one line at the top.
        picture_path: image id -> its file, or None.
        top: pictures a row.
        pixel_limit: pictures of more pixels are not opened.

    Returns:
        RGB; pictures that do not open are grey tiles with the reason.
    """
    images = [image for sheet in sheets for image in sheet.images]
    pictures, reasons = small_pictures(images, picture_path, TILE, pixel_limit)
    gap, margin, caption_width = 8, 20, 236
    row_height = TILE + 44
    width = 2 * margin + 2 * (TILE + gap) + caption_width + 24 + top * (TILE + gap)
    height = 62 + max(1, len(sheets)) * row_height + margin
    sheet_picture = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet_picture)
    draw.text((margin, 18), _fitted(draw, title, _font(20), width - 2 * margin), fill=_INK, font=_font(20))
    if not sheets:
        draw.text((margin, 62), "There is no evaluated query to show.", fill=_MUTED, font=_font(15))
    for row, sheet in enumerate(sheets):
        y = 62 + row * row_height
        draw.rounded_rectangle(
            (margin - 10, y - 6, width - margin + 2, y + row_height - 14), 8, fill=_CARD, outline=_LINE
        )
        said = f"{sheet.band}: target ranked {sheet.target_rank:,}   {sheet.category}"
        draw.text((margin, y), _fitted(draw, said, _font(13), 600), fill=_MUTED, font=_font(13))
        y += 20
        x = margin
        for image in (sheet.reference, sheet.target):
            _tile(sheet_picture, pictures, reasons, image, (x, y), TILE, framed=image == sheet.target)
            x += TILE + gap
            if image == sheet.reference:
                _caption(draw, sheet.caption, (x, y), caption_width - gap, TILE)
                x += caption_width
        x += 24
        draw.line((x - 15, y, x - 15, y + TILE), fill=_LINE, width=2)
        for result in sheet.found[:top]:
            _tile(
                sheet_picture,
                pictures,
                reasons,
                result.image,
                (x, y),
                TILE,
                framed=result.image == sheet.target,
                rank=result.rank,
            )
            x += TILE + gap
    return sheet_picture


def write_beside(destination: Path, content: bytes) -> Path:
    """Write a file whole or not at all: beside, then renamed.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    try:
        with write_whole(destination) as beside:
            beside.write_bytes(content)
    except OSError as error:
        raise OSError(
            f"cannot write {destination} ({len(content):,} bytes): {error.strerror}; what was there is unchanged"
        ) from error
    return destination


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface, the same on every machine."""
    return ImageFont.load_default(size)


def _tile(
    onto: Image.Image,
    pictures: Mapping[str, Image.Image],
    reasons: Mapping[str, str],
    image: str,
    corner: tuple[int, int],
    side: int,
    *,
    framed: bool,
    rank: int | None = None,
) -> None:
    """Draw one picture, or a grey tile that says why there is none."""
    x, y = corner
    draw = ImageDraw.Draw(onto)
    picture = pictures.get(image)
    if picture is None:
        draw.rectangle((x, y, x + side - 1, y + side - 1), fill=_MISSING)
        _caption(draw, reasons.get(image, "no picture"), (x + 5, y + 5), side - 10, side - 10, size=11)
    else:
        onto.paste(picture, (x + (side - picture.width) // 2, y + (side - picture.height) // 2))
    if framed:
        draw.rectangle((x - 3, y - 3, x + side + 2, y + side + 2), outline=_TARGET, width=4)
    if rank is not None:
        said = str(rank)
        right = x + 8 + draw.textlength(said, font=_font(12))
        draw.rectangle((x, y, right, y + 16), fill=_TARGET if framed else _INK)
        draw.text((x + 4, y + 1), said, fill="white", font=_font(12))


def _caption(
    draw: ImageDraw.ImageDraw, text: str, corner: tuple[int, int], width: int, height: int, size: int = 14
) -> None:
    """Write text in lines, with an ellipsis where it is longer than the room."""
    font = _font(size)
    line_height = size + 4
    room = max(1, height // line_height)
    words = text[:600].split()
    lines: list[str] = []
    while words and len(lines) < room:
        line = words.pop(0)
        while words and draw.textlength(f"{line} {words[0]}", font=font) <= width:
            line = f"{line} {words.pop(0)}"
        if words and len(lines) == room - 1:
            line = f"{line} …"
        lines.append(_fitted(draw, line, font, width))
    for number, line in enumerate(lines):
        draw.text((corner[0], corner[1] + number * line_height), line, fill=_INK, font=font)


def _fitted(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float
) -> str:
    """Cut a line to a width in pixels, with an ellipsis where it was cut."""
    text = text.replace("\n", " ")
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(f"{text}…", font=font) > width:
        text = text[: -max(1, len(text) // 12)]
    return f"{text}…"
