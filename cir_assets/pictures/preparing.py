"""From a picture to the encoder's pixels: pad, resize, crop, convert, in the reference implementation's order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cir_assets.pictures.settings import Padding, Reading

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def prepare_picture(
    picture: Image.Image, resolution: int, padding: Padding, target_ratio: float = 1.25
) -> NDArray[np.uint8]:
    """A picture as the encoder's pixels, uint8 (resolution, resolution, 3), RGB.

    Padding, resizing and cropping come before the conversion to RGB, as in the reference
    (``data_utils.py``): of a picture opened with ``reading="reference"`` a palette is padded with its entry 0 and
    resized by nearest neighbour, alpha is dropped rather than composited, and it lies as it is stored. One opened
    ``as_seen`` is RGB and upright before.
    """
    padded = pad(picture, padding, target_ratio)
    width, height = padded.size
    if width <= height:
        size = (resolution, int(resolution * height / width))
    else:
        size = (int(resolution * width / height), resolution)
    resized = padded if size == padded.size else padded.resize(size, Image.Resampling.BICUBIC)
    # Python's round is half to even, as the reference's crop is.
    left = round((size[0] - resolution) / 2.0)
    top = round((size[1] - resolution) / 2.0)
    cropped = resized.crop((left, top, left + resolution, top + resolution))
    return np.asarray(cropped.convert("RGB"), dtype=np.uint8)


def pad(picture: Image.Image, padding: Padding, target_ratio: float = 1.25) -> Image.Image:
    """Pad with zero bytes: to a square, to the target ratio, or not at all (``clip``)."""
    width, height = picture.size
    longer, shorter = max(width, height), min(width, height)
    if padding == "clip" or (padding == "targetpad" and longer / shorter < target_ratio):
        return picture
    side = longer if padding == "squarepad" else longer / target_ratio
    horizontal = max(int((side - width) / 2), 0)
    vertical = max(int((side - height) / 2), 0)
    if not horizontal and not vertical:
        return picture
    padded = Image.new(picture.mode, (width + 2 * horizontal, height + 2 * vertical), 0)
    if picture.mode == "P":
        palette = picture.getpalette()
        if palette is not None:
            padded.putpalette(palette)
    padded.paste(picture, (horizontal, vertical))
    return padded


def preprocessing_name(
    resolution: int, padding: Padding, target_ratio: float, reading: Reading = "reference"
) -> str:
    """What the feature cache calls a preprocessing: ``targetpad1.25@64``, ``squarepad@224 as_seen``."""
    ratio = f"{target_ratio:g}" if padding == "targetpad" else ""
    return f"{padding}{ratio}@{resolution}" + (f" {reading}" if reading != "reference" else "")
