"""The one place where bytes become a picture."""

from __future__ import annotations

import io
import math
from pathlib import Path

from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""What is opened, MPO as JPEG. Others are refused unread: Pillow decodes an ICO to open it, and runs EPS."""


class UnreadablePicture(ValueError):
    """A picture that cannot be decoded; the message is the reason, without the path."""


def open_picture(path: Path | io.BytesIO, pixel_limit: int) -> Image.Image:
    """A fully decoded picture in the file's own mode, from a path or from the file's bytes.

    Raises:
        UnreadablePicture: when the file is missing, no picture, truncated, or of more pixels than allowed
            (told from its header, before anything is decoded), or so narrow that padding it would take them.
    """
    # Our own limit decides, from the header; Pillow's would warn at another number.
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > pixel_limit:
                raise UnreadablePicture(
                    f"{width} x {height} are {width * height:,} pixels, more than the limit of {pixel_limit:,}"
                )
            if max(width, height) ** 2 > 4 * pixel_limit:
                # Padded to a square, 2 x 50,000 pixels become 2,500,000,000.
                raise UnreadablePicture(
                    f"{width} x {height} pixels are too long and narrow; the longer side may have "
                    f"{math.isqrt(4 * pixel_limit):,}"
                )
            if min(width, height) < 2:
                raise UnreadablePicture(f"{width} x {height} pixels are too few to show anything")
            picture.load()
            return picture.copy() if picture.format == "GIF" else picture
    except UnreadablePicture:
        raise
    except FileNotFoundError as error:
        raise UnreadablePicture("there is no such file") from error
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more on broken files.
        raise UnreadablePicture(f"{type(error).__name__}: {error}".replace(str(path), "the file")) from error
