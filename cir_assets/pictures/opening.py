"""The one place where files become pictures: what is read, what is refused, and what may open another time."""

from __future__ import annotations

import io
import math
import os
import stat
from pathlib import Path
from typing import BinaryIO

import PIL
from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""What is opened, MPO as JPEG. Others are refused unread: Pillow decodes an ICO to open it, and runs EPS."""

GENERATION = 1
"""Raised when what opens changes: files that were refused are then tried again."""

JUDGED_BY = f"opening {GENERATION}, Pillow {PIL.__version__}, {' '.join(FORMATS)}"
"""What a refusal holds under; under anything else the same bytes are tried again."""


def judged_by(pixel_limit: int) -> str:
    """What a refusal to decode holds under."""
    return f"{JUDGED_BY}, at most {pixel_limit:,} pixels"


class UnreadablePicture(ValueError):
    """A picture that cannot be decoded; the message is the reason, without the path."""


class NotReadNow(UnreadablePicture):
    """A picture that could not be read at this moment, which says nothing of its content: try again later."""


def open_file(path: Path) -> io.BufferedReader:
    """A file opened for reading, where it is a regular one: a pipe in its place would be waited for without end.

    Raises:
        NotReadNow: when it is absent, no regular file, or the system does not give it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise not_read_now(error) from error
    except ValueError as error:
        # A name no file can have, such as one that holds a zero byte.
        raise NotReadNow(f"there is no such file: {error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotReadNow("it is no file")
    return os.fdopen(descriptor, "rb")


def read_file(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        NotReadNow: when it is absent, no regular file, or the system does not give it.
    """
    try:
        with open_file(path) as stream:
            content: bytes = stream.read()
            return content
    except OSError as error:
        raise not_read_now(error) from error
    except MemoryError as error:
        raise refusal(error) from error


def not_read_now(error: OSError) -> NotReadNow:
    """What the system's refusal means, in words."""
    if isinstance(error, FileNotFoundError):
        return NotReadNow("there is no such file")
    return NotReadNow(f"it cannot be read: {error.strerror or error}")


def open_picture(path: Path | BinaryIO, pixel_limit: int) -> Image.Image:
    """A fully decoded picture in the file's own mode, from a path or from the file's bytes.

    Raises:
        NotReadNow: when the file is missing, the system does not give it, or memory does not suffice.
        UnreadablePicture: when it is no picture, truncated, or of more pixels than allowed (told from its header,
            before anything is decoded), or so narrow that padding it would take them.
    """
    if isinstance(path, Path):
        with open_file(path) as stream:
            return open_picture(stream, pixel_limit)
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
    except Exception as error:
        raise refusal(error) from error


def refusal(error: Exception) -> UnreadablePicture:
    """What an exception of Pillow's says: of the content, or only of this moment.

    Its decoders raise OSError, SyntaxError, ValueError, struct.error and more on broken files.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return not_read_now(error)
    if isinstance(error, MemoryError) or "out of memory" in str(error):
        return NotReadNow("there was not memory enough to decode it")
    if isinstance(error, UnidentifiedImageError):
        return UnreadablePicture("UnidentifiedImageError: cannot identify image file the file")
    return UnreadablePicture(f"{type(error).__name__}: {error}")
