"""What opens, as what, and why the rest does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from cir_assets.pictures.opening import UnreadablePicture, open_picture


def test_too_many_pixels_are_refused_by_the_header(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (12_000, 12_000)).save(path)
    with pytest.raises(UnreadablePicture, match="12000 x 12000 are 144,000,000 pixels, more than the limit"):
        open_picture(path, 100_000_000)


def test_one_pixel_shows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    Image.new("RGB", (1, 1)).save(path)
    with pytest.raises(UnreadablePicture, match="1 x 1 pixels are too few"):
        open_picture(path, 100)


def test_a_picture_so_narrow_that_padding_would_take_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "line.png"
    Image.new("RGB", (2, 50_000)).save(path)
    with pytest.raises(UnreadablePicture, match="too long and narrow; the longer side may have 20,000"):
        open_picture(path, 100_000_000)


def test_a_cameras_several_pictures_in_one_file_open_as_the_first(tmp_path: Path) -> None:
    path = tmp_path / "stereo.jpg"
    Image.new("RGB", (40, 50), "red").save(
        path, "MPO", save_all=True, append_images=[Image.new("RGB", (40, 50))]
    )
    assert open_picture(path, 10_000).getpixel((5, 5)) == pytest.approx((254, 0, 0), abs=2)


@pytest.mark.parametrize("name", ["bomb.ico", "program.eps", "plan.pdf", "picture.ppm"])
def test_what_pillow_would_decode_or_run_to_open_is_refused_unread(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.new("RGB", (40, 50)).save(path)
    path.rename(tmp_path / "picture.png")
    with pytest.raises(UnreadablePicture, match="cannot identify"):
        open_picture(tmp_path / "picture.png", 100_000_000)
