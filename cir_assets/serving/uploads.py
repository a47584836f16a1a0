"""Pictures people brought: kept apart from any searcher, so that a new champion finds them too."""

from __future__ import annotations

import ctypes
import hashlib
import io
import re
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from cir_assets.pictures.magic import kind_of
from cir_assets.pictures.opening import UnreadablePicture, as_seen, look_into, scans_of
from cir_assets.pictures.preparing import prepare_picture
from cir_assets.pictures.settings import Preprocessing
from cir_assets.pictures.shrinking import shrunk
from cir_assets.store.files import write_whole

LARGEST_UPLOAD = 20_000_000
"""Bytes."""

MOST_PIXELS = 25_000_000
"""Of an upload that is decoded whole; a data set has a limit of its own."""

MOST_JPEG_PIXELS = 210_000_000
MOST_PROGRESSIVE_PIXELS = 50_000_000
"""A JPEG is decoded small where it is larger; one in several scans takes up to six bytes a pixel all the same."""

MOST_SCANS = 100
"""Of a progressive JPEG; programs write ten or so, and every one goes over all pixels."""

LONGEST_SIDE = 10_000
"""Pixels; a picture with a longer side is made smaller before it is padded, which may square that side."""

KEPT_UPLOADS = 256
KEPT_BYTES = 256_000_000
"""The newest uploads that stay: at most so many, and of so many bytes together."""

ON_THEIR_WAY = 200_000_000
"""Bytes of uploads that are being sent or wait to be decoded, all together."""

DECODED_AT_ONCE = 2
"""A decoded upload takes up to some 300 MB until it is prepared."""

SHOWN_SIDE = 512
UPLOADED = "upload:"


class UnknownPicture(LookupError):
    """A picture that is not in the gallery, or an upload that is no longer kept."""


class RefusedInput(ValueError):
    """Text or picture that cannot be searched with; the message says what was expected."""


class Busy(RuntimeError):
    """There is no room at the moment; the message says for what, and to try again."""


class Room:
    """Room for so much at a time, of whatever is counted; for one thread."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    def take(self, amount: int = 1) -> bool:
        """Whether there was room; then it is taken."""
        if self.taken + amount > self.most:
            return False
        self.taken += amount
        return True

    def give(self, amount: int = 1) -> None:
        """Give back what was taken."""
        self.taken -= amount


def give_memory_back() -> None:
    """Hand what the allocator keeps of large uploads back to the system, where it can be told to."""
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


class TooLarge(RefusedInput):
    """A file of more bytes than are taken."""

    def __init__(self) -> None:
        super().__init__(f"the file has more than {LARGEST_UPLOAD / 1e6:.0f} MB; send a smaller picture")


@dataclass
class _Upload:
    """A file as it came, itself small as JPEG, and its pixels uint8 (r, r, 3) by how they were prepared."""

    content: bytes
    small: bytes
    pixels: dict[Preprocessing, NDArray[np.uint8]] = field(default_factory=dict)


class Uploads:
    """The newest uploads, in memory; safe to use from many threads.

    The processes of one server have a folder in common besides: what one of them took, the others find there.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self._shared = shared
        self._kept: OrderedDict[str, _Upload] = OrderedDict()
        self._lock = threading.Lock()
        self._decoding = threading.BoundedSemaphore(DECODED_AT_ONCE)

    def add(self, content: bytes, how: Preprocessing) -> str:
        """Take a file; the oldest ones go.

        Args:
            content: the file's bytes.
            how: the preparation it is most likely searched with.

        Returns:
            The name it can be searched with.

        Raises:
            TooLarge: when it has too many bytes.
            RefusedInput: when it is no picture that opens.
        """
        if len(content) > LARGEST_UPLOAD:
            raise TooLarge
        name = UPLOADED + hashlib.sha256(content).hexdigest()[:16]
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return name
        self._keep(name, content, how)
        if self._shared is not None:
            self._share(self._shared, name, content)
        return name

    def _keep(self, name: str, content: bytes, how: Preprocessing | None) -> _Upload:
        """Decode an upload and keep it; prepared where it is told how."""
        with self._decoding:
            picture = open_upload(content)
            try:
                pixels = {} if how is None else {how: _prepared(picture, how)}
                small = io.BytesIO()
                shrunk(picture, SHOWN_SIDE).save(small, "JPEG", quality=85)
            except (UnreadablePicture, OSError, ValueError, MemoryError) as error:
                raise RefusedInput(
                    "the picture cannot be made small; save it anew as a JPEG and send that"
                ) from error
        with self._lock:
            self._kept[name] = upload = _Upload(content, small.getvalue(), pixels)
            while (
                len(self._kept) > KEPT_UPLOADS
                or sum(len(each.content) for each in self._kept.values()) > KEPT_BYTES
            ):
                self._kept.popitem(last=False)
        return upload

    @staticmethod
    def _share(folder: Path, name: str, content: bytes) -> None:
        """Put an upload where the other processes find it; the oldest there go."""
        with write_whole(folder / _file_of(name)) as beside:
            beside.write_bytes(content)
        there = [(each, each.stat()) for each in folder.glob(_file_of("*"))]
        there.sort(key=lambda each: each[1].st_mtime_ns, reverse=True)
        size = 0
        for place, (file, look) in enumerate(there):
            size += look.st_size
            if place >= KEPT_UPLOADS or size > KEPT_BYTES:
                file.unlink(missing_ok=True)

    def pixels(self, name: str, how: Preprocessing) -> NDArray[np.uint8]:
        """An upload's pixels (r, r, 3), decoded again where it was not yet prepared so.

        Raises:
            UnknownPicture: when it is not, or no longer, kept.
        """
        upload = self._of(name)
        found = upload.pixels.get(how)
        if found is None:
            with self._decoding:
                found = _prepared(open_upload(upload.content), how)
            upload.pixels[how] = found
        return found

    def small(self, name: str, side: int) -> bytes:
        """An upload as JPEG of at most ``side`` pixels a side, and of at most ``SHOWN_SIDE``.

        Raises:
            UnknownPicture: when it is not, or no longer, kept.
        """
        small = self._of(name).small
        if side >= SHOWN_SIDE:
            return small
        smaller = io.BytesIO()
        shrunk(Image.open(io.BytesIO(small), formats=("JPEG",)), side).save(smaller, "JPEG", quality=85)
        return smaller.getvalue()

    def _of(self, name: str) -> _Upload:
        with self._lock:
            found = self._kept.get(name)
        # A name comes as people send it: only what an upload is called is looked for among files.
        called = re.fullmatch(rf"{UPLOADED}[0-9a-f]{{16}}", name)
        if found is None and called and self._shared is not None:
            with suppress(FileNotFoundError):
                found = self._keep(name, (self._shared / _file_of(name)).read_bytes(), None)
        if found is None:
            raise UnknownPicture(f"the upload {name!r} is no longer kept here; send the picture again")
        return found


def _file_of(name: str) -> str:
    return f"{name.removeprefix(UPLOADED)}.upload"


def open_upload(content: bytes) -> Image.Image:
    """An upload, decoded; small where it is larger than is needed, as pictures of phones are.

    Raises:
        RefusedInput: when it is no picture that opens, or one that would take too much time or memory; told before
            anything is decoded, in words for people who only have a picture.
    """
    try:
        return look_into(content, lambda picture: _decoded(content, picture))
    except RefusedInput:
        raise
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more on broken files.
        raise RefusedInput(_why_not(content, error)) from error


def _decoded(content: bytes, picture: Image.Image) -> Image.Image:
    width, height = picture.size
    is_jpeg = isinstance(picture, JpegImageFile)
    most = MOST_PIXELS
    if is_jpeg:
        scans = scans_of(content)
        if scans > MOST_SCANS:
            raise RefusedInput(
                f"this JPEG comes in {scans:,} layers, of which at most {MOST_SCANS} are read; "
                "save it anew with another program and send that"
            )
        in_layers = scans > 1 or "progressive" in picture.info
        most = MOST_PROGRESSIVE_PIXELS if in_layers else MOST_JPEG_PIXELS
    if width * height > most:
        raise RefusedInput(
            f"the picture is too large: {width:,} x {height:,} are {width * height:,} pixels, and at most "
            f"{most:,} are taken; send it smaller{'' if is_jpeg else ', or as a JPEG'}"
        )
    smaller = -(-max(width, height) // LONGEST_SIDE)
    if min(width, height) // smaller < 2:
        raise RefusedInput(
            f"the picture is too narrow to show anything: {width:,} x {height:,} pixels; cut out a part of it"
        )
    if is_jpeg and width * height > MOST_PIXELS:
        # Decoded at a half, a quarter or an eighth: whole would take seconds and hundreds of megabytes.
        scale = next((s for s in (2, 4) if width * height <= MOST_PIXELS / 4 * s**2), 8)
        picture.draft(None, (width // scale, height // scale))
        smaller = -(-max(picture.size) // LONGEST_SIDE)
    picture.load()
    whole = as_seen(picture)
    return whole.reduce(smaller) if smaller > 1 else whole


_TAKEN = "send a JPEG, PNG, WebP, GIF, BMP or TIFF"


def _why_not(content: bytes, error: Exception) -> str:
    """Why an upload does not open, and what to do."""
    if isinstance(error, UnreadablePicture):
        return f"the picture cannot be shown: {error}; {_TAKEN}"
    kind = kind_of(content)
    if not isinstance(error, UnidentifiedImageError) or (kind and kind.startswith("a damaged")):
        return "the picture is damaged or did not arrive whole; send it again, or save it anew as a JPEG"
    named = f"{kind}, " if kind else ""
    how = "; in Photos, share or export it as a JPEG" if "HEIC" in named else ""
    return f"this is {named}no picture that opens here: {_TAKEN}{how}"


def _prepared(picture: Image.Image, how: Preprocessing) -> NDArray[np.uint8]:
    # A copy, which torch may write to; what comes from Pillow is read-only.
    return np.array(prepare_picture(picture, how.resolution, how.padding, how.target_ratio))
