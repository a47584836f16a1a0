"""The one place where files become pictures: what is read and how, what is refused, and what may open another time.

A picture is read in one of two ways. ``reference`` is the reference implementation's: the pixels as they are stored,
in the file's own mode. ``as_seen`` is what a viewer shows: RGB, the first frame, turned as its camera says,
what is see-through on white, 16 bits and floats scaled to 8, colours in sRGB.
"""

from __future__ import annotations

import errno
import io
import math
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError, features

from cir_assets.pictures.magic import LOOKED_AT, described
from cir_assets.pictures.settings import Reading

try:
    from pillow_heif import register_heif_opener
except ImportError:
    HEIF: tuple[str, ...] = ()
else:
    register_heif_opener()
    HEIF = ("HEIF",)

AVIF = ("AVIF",) if features.check("avif") else ()

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", *AVIF, *HEIF)
"""What is opened, MPO as JPEG. Others are refused unread: Pillow decodes an ICO to open it, and runs EPS."""

ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"}
    | ({".avif"} if AVIF else set())
    | ({".heic", ".heif", ".hif"} if HEIF else set())
)
"""Endings of what opens, in small letters; what a file is its bytes decide."""

GENERATION = 2
"""Raised, with that of the features, when what opens changes: files that were refused are then tried again."""

JUDGED_BY = f"opening {GENERATION}, Pillow {PIL.__version__}, {' '.join(FORMATS)}"
"""What a refusal holds under; under anything else the same bytes are tried again."""

Looked = TypeVar("Looked")

PNG = b"\x89PNG\r\n\x1a\n"

SMALLEST_SIDE = 2

MOST_SCANS = 500
"""Of a progressive JPEG, as libjpeg-turbo recommends: 42 bytes of a scan cost a pass over all pixels."""

SCANNED = 40
"""Passes over as many pixels as the limit allows, all scans together."""

BYTES_A_PIXEL = 8
MOST_BYTES_BESIDE = 1 << 26
"""A file may have 8 bytes for each pixel the limit allows, which is 16 bits of four channels, and 64 MiB of notes,
previews and films beside."""

# Our own limits decide, from the header; Pillow's would warn at another number.
Image.MAX_IMAGE_PIXELS = None

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SRGB = ImageCms.createProfile("sRGB")
_OF_CONTENT = (errno.EINVAL, errno.EOVERFLOW)
"""What a system answers to a place in a file that a broken header names."""

_GREYS = ("1", "L", "LA", "La", "I", "F")
_RANGES = (1.0, 255.0, 65_535.0)
_SAME_COLOURS = 2
"""A profile that moves no colour further than this, of 255, is sRGB under another name."""


class UnreadablePicture(ValueError):
    """A picture that cannot be decoded; the message is the reason, without the path."""


class NotReadNow(UnreadablePicture):
    """A picture that could not be read at this moment, which says nothing of its content: try again later."""


@dataclass(frozen=True)
class Header:
    """What a picture's header says: format, mode, width and height in pixels."""

    format: str
    mode: str
    width: int
    height: int


def judged_by(pixel_limit: int) -> str:
    """What a refusal to decode holds under."""
    return f"{JUDGED_BY}, at most {pixel_limit:,} pixels"


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


def most_bytes(pixel_limit: int) -> int:
    """Bytes a file may have at most to be read whole."""
    return BYTES_A_PIXEL * pixel_limit + MOST_BYTES_BESIDE


def read_file(path: Path, most: int) -> bytes | None:
    """The bytes of a file; None where there are more than ``most``.

    Raises:
        NotReadNow: when it is absent, no regular file, or the system does not give it.
    """
    try:
        with open_file(path) as stream:
            if os.fstat(stream.fileno()).st_size > most:
                return None
            content: bytes = stream.read(most + 1)
            return content if len(content) <= most else None
    except OSError as error:
        raise not_read_now(error) from error
    except MemoryError as error:
        raise refusal(error) from error


def not_read_now(error: OSError) -> NotReadNow:
    """What the system's refusal means, in words."""
    if isinstance(error, FileNotFoundError):
        return NotReadNow("there is no such file")
    return NotReadNow(f"it cannot be read: {error.strerror or error}")


def too_many_bytes(pixel_limit: int) -> UnreadablePicture:
    """Why a file that ``read_file`` does not read is none of a picture."""
    return UnreadablePicture(
        f"it has more than {most_bytes(pixel_limit):,} bytes, more than any picture of the {pixel_limit:,} pixels "
        "that are the limit"
    )


def read_header(stream: BinaryIO) -> Header:
    """A picture's header, of the file's stored pixels; nothing is decoded.

    Raises:
        NotReadNow: when the system does not give the file, or memory does not suffice.
        UnreadablePicture: when it is no picture; the message says what it is.
    """
    try:
        try:
            return _header(stream)
        except Exception:
            stream.seek(0)
            if stream.read(len(PNG)) != PNG:
                raise
            stream.seek(0)
            return _header(io.BytesIO(_without_notes(stream.read())))
    except Exception as error:
        with suppress(OSError):
            stream.seek(0)
            raise refusal(error, stream.read(LOOKED_AT)) from error
        raise refusal(error) from error


def _header(stream: BinaryIO) -> Header:
    with Image.open(stream, formats=FORMATS) as picture:
        width, height = picture.size
        if max(width, height) >= 1 << 31:
            raise UnreadablePicture(f"its header speaks of {width} x {height} pixels; no picture has so many")
        return Header(str(picture.format), picture.mode, width, height)


def open_picture(source: Path | bytes, pixel_limit: int, reading: Reading = "reference") -> Image.Image:
    """A fully decoded picture, from a path or from the file's bytes.

    Args:
        source: the file, or its bytes.
        pixel_limit: pictures of more pixels are refused by their header.
        reading: ``reference``: in the file's own mode, as stored. ``as_seen``: RGB, as a viewer shows it.

    Raises:
        NotReadNow: when the file is missing, the system does not give it, or memory does not suffice.
        UnreadablePicture: when it is no picture, truncated, of more pixels than allowed (told from its header,
            before anything is decoded), so narrow that padding it would take them, takes far more work than its
            pixels, or holds values no viewer could show; the message says which, without the path.
    """
    content = read_file(source, most_bytes(pixel_limit)) if isinstance(source, Path) else source
    if content is None:
        raise too_many_bytes(pixel_limit)

    def decoded(picture: Image.Image) -> Image.Image:
        problem = size_problem(*picture.size, pixel_limit)
        if problem is None and picture.format in ("JPEG", "MPO"):
            problem = _work_problem(content, picture.width * picture.height, pixel_limit)
        if problem:
            raise UnreadablePicture(problem)
        picture.load()
        if reading == "as_seen":
            return as_seen(picture)
        return picture.copy() if picture.format == "GIF" else picture

    try:
        return look_into(content, decoded)
    except Exception as error:
        raise refusal(error, content) from error


def look_into(content: bytes, look: Callable[[Image.Image], Looked]) -> Looked:
    """What ``look`` makes of the picture in these bytes, of which only the header was read.

    A PNG whose texts are longer than Pillow reads, or broken, is looked into without them.

    Raises:
        Exception: whatever Pillow or ``look`` raise.
    """

    def looked(each: bytes) -> Looked:
        with Image.open(io.BytesIO(each), formats=FORMATS) as picture:
            return look(picture)

    try:
        return looked(content)
    except Exception:
        if not content.startswith(PNG):
            raise
        return looked(_without_notes(content))


def size_problem(width: int, height: int, pixel_limit: int) -> str | None:
    """Why a picture of this size is not decoded; None where it is."""
    if width * height > pixel_limit:
        return f"{width} x {height} are {width * height:,} pixels, more than the limit of {pixel_limit:,}"
    if max(width, height) ** 2 > 4 * pixel_limit:
        # Padded to a square, 2 x 50,000 pixels become 2,500,000,000.
        longest = math.isqrt(4 * pixel_limit)
        return f"{width} x {height} pixels are too long and narrow; the longer side may have {longest:,}"
    if min(width, height) < SMALLEST_SIDE:
        return f"{width} x {height} pixels are too few to show anything"
    return None


def _work_problem(content: bytes, pixels: int, pixel_limit: int) -> str | None:
    """Why a JPEG takes more work than its pixels are worth; None where it does not."""
    most = min(MOST_SCANS, SCANNED * pixel_limit // pixels)
    # Counted in the whole file there are at least as many, and nearly always as few.
    if content.count(b"\xff\xda") <= most or (scans := scans_of(content)) <= most:
        return None
    return f"it comes in {scans:,} scans, each of which passes over all {pixels:,} pixels; {most:,} are the limit"


def scans_of(content: bytes) -> int:
    """How many scans a JPEG has, each of which a decoder takes over the whole picture; told from its markers alone.

    What lies within a segment, as a camera's small picture of its own, or behind the end, as a moving picture of a
    phone, is none of its scans.
    """
    place, scans = 2, 0
    while marker := _MARKER.search(content, place):
        kind, place = content[marker.end() - 1], marker.end()
        if kind == 0xD9:
            break
        scans += kind == 0xDA
        place += int.from_bytes(content[place : place + 2], "big")
    return scans


_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd8]")
"""In a JPEG's coded data: a marker that is neither stuffing nor a restart."""


def _without_notes(content: bytes) -> bytes:
    """A PNG without its texts and profile, which may be longer than Pillow reads, or broken."""
    kept, place = [PNG], len(PNG)
    while place + 12 <= len(content):
        end = place + 12 + int.from_bytes(content[place : place + 4], "big")
        if content[place + 4 : place + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            kept.append(content[place:end])
        place = end
    return b"".join(kept)


def as_seen(picture: Image.Image) -> Image.Image:
    """A decoded picture as a viewer shows it: RGB, upright, on white, in sRGB.

    A broken note of orientation or a broken colour profile counts as none.

    Raises:
        UnreadablePicture: when its values have no range that a viewer would know.
    """
    grey = picture.mode in _GREYS or picture.mode.startswith("I;")
    profile = picture.info.get("icc_profile")
    seen = _in_eight_bits(picture)
    if seen.has_transparency_data:
        seen = _on_white(seen)
    seen = _in_srgb(seen, profile, grey)
    turn = _TURNS.get(_orientation(picture))
    if turn is not None:
        seen = seen.transpose(turn)
    seen.info = {}
    return seen


def _orientation(picture: Image.Image) -> int:
    """How its camera was held, 1 to 8 as EXIF counts; 1 where that note is broken, which Pillow tells in many ways."""
    with suppress(Exception):
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def _in_eight_bits(picture: Image.Image) -> Image.Image:
    """A picture of at most 8 bits a channel.

    Grey values of 16 bits are scaled by what their bits can hold. Integers of 32 bits and floats say no range: it is
    the smallest of 0 to 1, 255 and 65,535 that holds them all.

    Raises:
        UnreadablePicture: where none does.
    """
    if picture.mode not in ("I", "F") and not picture.mode.startswith("I;"):
        return picture
    values = np.asarray(picture)
    if picture.mode.startswith("I;"):
        tags = getattr(picture, "tag_v2", {})
        most = float(2 ** _first(tags.get(258), 16) - 1)
        inverted = _first(tags.get(262), 1) == 0
    else:
        low, high = float(values.min()), float(values.max())
        held = [most for most in _RANGES if 0 <= low <= high <= most]
        if not held:
            raise UnreadablePicture(
                f"its values run from {low:g} to {high:g}; what can be shown runs from 0 to 1, 255 or 65,535"
            )
        most, inverted = held[0], False
    eighths: NDArray[np.uint8] = np.rint(np.clip(values * np.float32(255 / most), 0, 255)).astype(np.uint8)
    seen = Image.fromarray(255 - eighths if inverted else eighths)
    see_through = picture.info.get("transparency")
    if isinstance(see_through, int):
        seen.putalpha(Image.fromarray(np.where(values == see_through, 0, 255).astype(np.uint8)))
    return seen


def _first(value: object, otherwise: int) -> int:
    """A TIFF tag's number, or the first of them."""
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, int) else otherwise


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode == "La":
        picture = picture.convert("LA")
    seen = picture.convert("RGBA")
    white = Image.new("RGBA", seen.size, "white")
    white.alpha_composite(seen)
    return white.convert("RGB")


def _in_srgb(picture: Image.Image, profile: object, grey: bool) -> Image.Image:
    if isinstance(profile, bytes) and (found := _to_srgb(profile)) is not None:
        mode, transform = found
        if (mode == "CMYK") == (picture.mode == "CMYK") and (mode != "L" or grey):
            return _applied(transform, picture.convert(mode))
    return picture.convert("RGB")


def _applied(transform: ImageCms.ImageCmsTransform, picture: Image.Image) -> Image.Image:
    return cast("Image.Image", ImageCms.applyTransform(picture, transform))


@lru_cache(maxsize=32)
def _to_srgb(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform] | None:
    """The mode a profile is of, and how its colours become sRGB; None where it is broken or sRGB itself."""
    with suppress(Exception):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[source.profile.xcolor_space.strip()]
        transform = ImageCms.buildTransform(source, _SRGB, mode, "RGB")
        steps = np.linspace(0, 255, 9 if mode == "RGB" else 256).astype(np.uint8)
        if mode == "RGB":
            colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
        else:
            colours = np.repeat(steps[None, :, None], 3, 2)
        probe = Image.fromarray(colours).convert(mode)
        moved = np.asarray(_applied(transform, probe)).astype(int) - colours
        if mode == "CMYK" or np.abs(moved).max() > _SAME_COLOURS:
            return mode, transform
    return None


def refusal(error: Exception, content: bytes = b"") -> UnreadablePicture:
    """What an exception of Pillow's says: of the content, or only of this moment.

    Its decoders raise OSError, SyntaxError, ValueError, struct.error and more on broken files.
    """
    if isinstance(error, UnreadablePicture):
        return error
    if isinstance(error, OSError) and error.errno not in (None, *_OF_CONTENT):
        return not_read_now(error)
    if isinstance(error, MemoryError) or "out of memory" in str(error):
        return NotReadNow("there was not memory enough to decode it")
    if isinstance(error, UnidentifiedImageError) or getattr(error, "errno", None) in _OF_CONTENT:
        return UnreadablePicture(
            described(content) or f"no picture in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        )
    return UnreadablePicture(f"{type(error).__name__}: {error}")
