"""Small random pictures for ids that real annotations name: their files are not redistributable."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def picture_bytes(image: str, ending: str = ".jpg") -> bytes:
    """A picture of 4 x 5 coloured patches, the same for an id on every machine."""
    random = np.random.default_rng(zlib.crc32(image.encode()))
    patches = random.integers(0, 256, (5, 4, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(np.repeat(np.repeat(patches, 8, 0), 8, 1)).save(
        stream, "JPEG" if ending == ".jpg" else "PNG"
    )
    return stream.getvalue()


def write_pictures(root: Path, paths: Iterable[str]) -> None:
    """Write a picture for each path below ``root``, named by its stem."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture_bytes(file.stem, file.suffix))
