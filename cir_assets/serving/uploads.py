"""Pictures people brought: kept apart from any searcher, so that a new champion finds them too."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cir_assets.pictures.opening import UnreadablePicture, open_picture
from cir_assets.pictures.preparing import prepare_picture
from cir_assets.pictures.settings import Preprocessing
from cir_assets.pictures.shrinking import shrunk

LARGEST_UPLOAD = 20_000_000
"""Bytes."""

MOST_PIXELS = 25_000_000
"""Of an upload; a data set has a limit of its own."""

KEPT_UPLOADS = 256
KEPT_BYTES = 256_000_000
"""The newest uploads that stay: at most so many, and of so many bytes together."""

DECODED_AT_ONCE = 2
"""A decoded upload takes up to some 300 MB until it is prepared."""

SHOWN_SIDE = 512
UPLOADED = "upload:"


class UnknownPicture(LookupError):
    """A picture that is not in the gallery, or an upload that is no longer kept."""


class RefusedInput(ValueError):
    """Text or picture that cannot be searched with; the message says what was expected."""


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
    """The newest uploads, in memory; safe to use from many threads."""

    def __init__(self) -> None:
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
        try:
            with self._decoding:
                picture = open_picture(content, MOST_PIXELS, "as_seen", smaller=True)
                pixels = _prepared(picture, how)
                small = io.BytesIO()
                shrunk(picture, SHOWN_SIDE).save(small, "JPEG", quality=85)
        except (UnreadablePicture, OSError, ValueError, MemoryError) as error:
            raise RefusedInput(
                f"this is no picture that opens ({error}); send a JPEG, PNG, WebP, GIF, BMP or TIFF"
            ) from error
        with self._lock:
            self._kept[name] = _Upload(content, small.getvalue(), {how: pixels})
            while (
                len(self._kept) > KEPT_UPLOADS
                or sum(len(each.content) for each in self._kept.values()) > KEPT_BYTES
            ):
                self._kept.popitem(last=False)
        return name

    def pixels(self, name: str, how: Preprocessing) -> NDArray[np.uint8]:
        """An upload's pixels (r, r, 3), decoded again where it was not yet prepared so.

        Raises:
            UnknownPicture: when it is not, or no longer, kept.
        """
        upload = self._of(name)
        found = upload.pixels.get(how)
        if found is None:
            with self._decoding:
                found = _prepared(open_picture(upload.content, MOST_PIXELS, "as_seen", smaller=True), how)
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
        if found is None:
            raise UnknownPicture(f"the upload {name!r} is no longer kept here; send the picture again")
        return found


def _prepared(picture: Image.Image, how: Preprocessing) -> NDArray[np.uint8]:
    # A copy, which torch may write to; what comes from Pillow is read-only.
    return np.array(prepare_picture(picture, how.resolution, how.padding, how.target_ratio))
