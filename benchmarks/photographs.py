"""JPEG files with the size and the detail of shop photographs, each with bytes of its own."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

DISTINCT = 40
"""Pictures that are really drawn; the others are copies whose file ends in a number, so that their keys differ."""


def write_photographs(folder: Path, count: int, *, width: int = 400, height: int = 600) -> list[Path]:
    """Write ``count`` files below ``folder``, a thousand in each of its folders; those there are kept."""
    drawn = [_photograph(number, width, height) for number in range(min(DISTINCT, count))]
    paths = [folder / f"{number // 1000:03d}" / f"{number:06d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            # What follows the end of a JPEG is no part of the picture.
            path.write_bytes(drawn[number % len(drawn)] + number.to_bytes(4, "big"))
    return paths


def _photograph(seed: int, width: int, height: int) -> bytes:
    """Noise at several scales, about as hard to compress as a photograph."""
    random = np.random.default_rng(seed)
    sum_of_scales = np.zeros((height, width, 3))
    for scale in (4, 16, 64):
        patches = random.integers(0, 256, (height // scale + 2, width // scale + 2, 3), np.uint8)
        layer = Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC)
        sum_of_scales += np.asarray(layer.filter(ImageFilter.GaussianBlur(1)), float)
    stream = io.BytesIO()
    Image.fromarray((sum_of_scales / 3).astype(np.uint8)).save(stream, "JPEG", quality=88)
    return stream.getvalue()
