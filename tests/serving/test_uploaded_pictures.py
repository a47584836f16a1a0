"""A picture people bring is searched with as they see it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cir_assets.pictures.settings import Preprocessing
from cir_assets.serving.uploads import MOST_PIXELS, RefusedInput, Uploads

HOW = Preprocessing(64, "targetpad", 1.25, MOST_PIXELS)


def saved(picture: Image.Image, form: str, **how: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **how)
    return stream.getvalue()


def pixels(content: bytes) -> np.ndarray:
    uploads = Uploads()
    return uploads.pixels(uploads.add(content, HOW), HOW)


def test_a_phone_photo_lying_on_its_side_is_searched_with_upright() -> None:
    upright = Image.effect_noise((80, 120), 90).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = saved(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    assert np.array_equal(pixels(lying), pixels(saved(upright, "PNG")))
    uploads = Uploads()
    small = Image.open(io.BytesIO(uploads.small(uploads.add(lying, HOW), 64)))
    assert small.width < small.height


def test_a_cut_out_is_searched_with_on_white() -> None:
    cut_out = Image.new("RGBA", (64, 64))
    assert pixels(saved(cut_out, "PNG")).min() == 255


@pytest.mark.parametrize("size", [(8_064, 6_048), (12_000, 1_000)])
def test_a_phones_originals_and_panoramas_are_decoded_small(size: tuple[int, int]) -> None:
    left_red = Image.new("RGB", size, "blue")
    left_red.paste("red", (0, 0, size[0] // 2, size[1]))
    found = pixels(saved(left_red, "JPEG"))
    assert found[32, 8].tolist() == pytest.approx([254, 0, 0], abs=3)
    assert found[32, 56].tolist() == pytest.approx([0, 0, 254], abs=3)


def test_what_is_no_picture_is_named() -> None:
    with pytest.raises(
        RefusedInput, match="this is a JPEG XL picture, no picture that opens here: send a JPEG"
    ):
        Uploads().add(b"\xff\x0a\x18\x7f\x02\x40", HOW)


def test_values_no_viewer_could_show_are_told_as_such() -> None:
    with pytest.raises(RefusedInput, match=r"cannot be shown: its values run from -1 to 1"):
        Uploads().add(
            saved(Image.fromarray(np.linspace(-1, 1, 400, dtype=np.float32).reshape(20, 20)), "TIFF"), HOW
        )


def test_a_png_with_a_text_longer_than_pillow_reads_is_searched_with() -> None:
    notes = PngInfo()
    notes.add_text("prompt", "word " * 1_000_000, zip=True)
    assert pixels(saved(Image.new("RGB", (64, 64), "white"), "PNG", pnginfo=notes)).min() == 255
