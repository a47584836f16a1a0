"""What opens, as what, and why the rest does not."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from cir_assets.pictures.opening import (
    AVIF,
    ENDINGS,
    FORMATS,
    HEIF,
    MOST_SCANS,
    NotReadNow,
    UnreadablePicture,
    open_picture,
    read_header,
)
from cir_assets.pictures.preparing import prepare_picture

LIMIT = 10_000_000


def saved(picture: Image.Image, form: str, **how: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **how)
    return stream.getvalue()


def seen(content: bytes) -> Image.Image:
    picture = open_picture(content, LIMIT, "as_seen")
    assert picture.mode == "RGB"
    return picture


def colour(content: bytes, x: int = 5, y: int = 5) -> tuple[int, int, int]:
    red, green, blue = np.asarray(seen(content))[y, x].tolist()
    return red, green, blue


def four_colours(width: int = 64, height: int = 32) -> Image.Image:
    """Red, green, blue and yellow quarters: no turn and no mirror of it looks like it."""
    picture = Image.new("RGB", (width, height))
    for number, name in enumerate(("red", "green", "blue", "yellow")):
        picture.paste(name, (number % 2 * width // 2, number // 2 * height // 2, width, height))
    return picture


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def after_header(png: bytes, *chunks: bytes) -> bytes:
    """A PNG with more chunks after its header."""
    return png[:33] + b"".join(chunks) + png[33:]


# What is refused, before anything is decoded.


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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bomb.ico", "it is an icon"),
        ("program.eps", "it is a PostScript program"),
        ("plan.pdf", "it is a PDF"),
        ("picture.ppm", "it is a Netpbm picture"),
        ("picture.jp2", "it is a JPEG 2000 picture"),
        ("texture.dds", "it is a texture"),
        ("picture.tga", "no picture in JPEG, PNG"),
    ],
)
def test_what_pillow_would_decode_or_run_to_open_is_refused_unread(
    tmp_path: Path, name: str, said: str
) -> None:
    path = tmp_path / name
    Image.new("RGB", (40, 50)).save(path)
    path.rename(tmp_path / "picture.png")
    with pytest.raises(UnreadablePicture, match=said):
        open_picture(tmp_path / "picture.png", 100_000_000)


def with_scans(jpeg: bytes, times: int) -> bytes:
    """A progressive JPEG whose last scan comes many times."""
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * times + jpeg[-2:]


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded() -> None:
    jpeg = saved(four_colours(), "JPEG", progressive=True)
    with pytest.raises(UnreadablePicture, match=r"comes in 2,0\d\d scans, .* 500 are the limit"):
        open_picture(with_scans(jpeg, 2_000), LIMIT)
    open_picture(with_scans(jpeg, 20), LIMIT)


def test_scans_are_fewer_where_each_passes_over_more_pixels() -> None:
    jpeg = saved(four_colours(400, 300), "JPEG", progressive=True)
    with pytest.raises(UnreadablePicture, match="40 are the limit"):
        open_picture(with_scans(jpeg, 60), 400 * 300)
    open_picture(with_scans(jpeg, 60), LIMIT)


def test_a_film_behind_a_photo_is_no_scan() -> None:
    jpeg = saved(four_colours(), "JPEG", progressive=True)
    assert open_picture(jpeg + b"\xff\xda" * 2 * MOST_SCANS, LIMIT).size == (64, 32)


def test_a_file_of_more_bytes_than_any_picture_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.write(saved(four_colours(), "PNG"))
        file.truncate(100_000_000)
    with pytest.raises(UnreadablePicture, match=r"it has more than 67,\d\d\d,\d\d\d bytes"):
        open_picture(tmp_path / "a.png", 10_000)
    assert open_picture(tmp_path / "a.png", LIMIT).size == (64, 32)


def test_a_header_that_names_a_place_no_file_has_is_a_verdict(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II+\0\x08\0\0\0" + b"\xff" * 200)
    with (tmp_path / "a.tif").open("rb") as stream, pytest.raises(UnreadablePicture) as refused:
        read_header(stream)
    assert not isinstance(refused.value, NotReadNow)


# As seen.


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", *AVIF])
def test_a_picture_stands_as_its_camera_was_held(form: str, orientation: int) -> None:
    upright = four_colours()
    # How it is stored so that this orientation turns it upright.
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = upright if stored is None else upright.transpose(stored)
    shown = seen(saved(lying, form, exif=exif))
    assert shown.size == upright.size
    difference = np.abs(np.asarray(shown, dtype=int) - np.asarray(upright, dtype=int))
    assert np.median(difference) <= 3


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("notes", [b"", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"x"])
def test_a_broken_note_of_orientation_counts_as_none(notes: bytes) -> None:
    assert seen(saved(four_colours(), "JPEG", exif=b"Exif\0\0" + notes)).size == (64, 32)


def palette_picture(transparency: int | bytes) -> bytes:
    picture = Image.new("P", (20, 20), 1)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    return saved(picture, "PNG", transparency=transparency)


SEE_THROUGH: dict[str, Callable[[], bytes]] = {
    "RGBA PNG": lambda: saved(Image.new("RGBA", (20, 20), (255, 0, 0, 0)), "PNG"),
    "RGBA with black under it": lambda: saved(Image.new("RGBA", (20, 20)), "PNG"),
    "RGBA WebP": lambda: saved(Image.new("RGBA", (20, 20)), "WEBP", lossless=True),
    "RGBA TIFF": lambda: saved(Image.new("RGBA", (20, 20)), "TIFF"),
    "LA PNG": lambda: saved(Image.new("LA", (20, 20)), "PNG"),
    "palette, one entry": lambda: palette_picture(1),
    "palette, alpha an entry": lambda: palette_picture(b"\xff\x00"),
    "grey, one value": lambda: saved(Image.new("L", (20, 20), 7), "PNG", transparency=7),
    "bits, one value": lambda: saved(Image.new("1", (20, 20), 0), "PNG", transparency=0),
    "16 bits, one value": lambda: saved(
        Image.fromarray(np.full((20, 20), 1000, np.uint16)), "PNG", transparency=1000
    ),
    "RGB, one colour": lambda: saved(Image.new("RGB", (20, 20), (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
    "GIF": lambda: saved(Image.new("P", (20, 20), 0), "GIF", transparency=0),
}


@pytest.mark.parametrize("kind", SEE_THROUGH)
def test_what_is_see_through_is_white(kind: str) -> None:
    assert colour(SEE_THROUGH[kind]()) == (255, 255, 255)


def test_what_is_half_see_through_is_half_white() -> None:
    assert colour(saved(Image.new("RGBA", (20, 20), (255, 0, 0, 128)), "PNG")) == (255, 127, 127)


RAMP = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(8, 0)
DEEP: dict[str, Callable[[], bytes]] = {
    "16-bit PNG": lambda: saved(Image.fromarray(np.rint(RAMP * 65_535).astype(np.uint16)), "PNG"),
    "16-bit TIFF": lambda: saved(Image.fromarray(np.rint(RAMP * 65_535).astype(np.uint16)), "TIFF"),
    "16-bit TIFF of a Mac": lambda: saved(Image.fromarray(np.rint(RAMP * 65_535).astype(">u2")), "TIFF"),
    "float TIFF to 1": lambda: saved(Image.fromarray(RAMP), "TIFF"),
    "float TIFF to 255": lambda: saved(Image.fromarray(RAMP * 255), "TIFF"),
    "float TIFF to 65,535": lambda: saved(Image.fromarray(RAMP * 65_535), "TIFF"),
    "integer TIFF to 255": lambda: saved(Image.fromarray(np.rint(RAMP * 255).astype(np.int32)), "TIFF"),
    "integer TIFF to 65,535": lambda: saved(Image.fromarray(np.rint(RAMP * 65_535).astype(np.int32)), "TIFF"),
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_greys_are_scaled_and_not_cut_off(kind: str) -> None:
    shown = np.asarray(seen(DEEP[kind]()), dtype=int)
    assert np.abs(shown[4, :, 0] - np.arange(256)).max() <= 1


def test_deep_greys_whose_white_is_zero_are_turned_over() -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0
    content = saved(Image.fromarray(np.zeros((20, 20), np.uint16)), "TIFF", tiffinfo=tags)
    if Image.open(io.BytesIO(content)).tag_v2[262] != 0:  # type: ignore[attr-defined]
        pytest.skip("this Pillow writes its own photometric interpretation")
    assert colour(content) == (255, 255, 255)


@pytest.mark.parametrize("value", [-3.0, 70_000.0, float("nan"), float("inf")])
def test_values_no_viewer_could_show_are_refused_with_their_range(value: float) -> None:
    values = RAMP.copy()
    values[0, 0] = value
    with pytest.raises(UnreadablePicture, match=r"its values run from .* what can be shown runs from 0 to 1"):
        seen(saved(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_printers_colours_become_those_of_a_screen(form: str) -> None:
    content = saved(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), form)
    red, green, blue = colour(content)
    assert red > 230
    assert max(green, blue) < 40


def profile_of(primaries: tuple[tuple[float, float], ...], gamma: float) -> bytes:
    """A small ICC profile of three primaries (CIE xy), D65 white adapted to D50, and one gamma."""
    white = np.array([0.95047, 1.0, 1.08883])
    xyz = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    scaled = xyz * np.linalg.solve(xyz, white)
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    d50 = np.array([0.96422, 1.0, 0.82521])
    adapted = np.linalg.inv(bradford) @ np.diag((bradford @ d50) / (bradford @ white)) @ bradford @ scaled

    def fixed(*numbers: float) -> bytes:
        return b"".join(struct.pack(">i", round(number * 65_536)) for number in numbers)

    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": b"XYZ \0\0\0\0" + fixed(*d50),
        **{
            name: b"XYZ \0\0\0\0" + fixed(*adapted[:, i])
            for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))
        },
        **{
            name: b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
            for name in (b"rTRC", b"gTRC", b"bTRC")
        },
    }
    table, body, place = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">I4sI4s4s4s", place + len(body), b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + fixed(*d50) + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + body


ADOBE_RGB = profile_of(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), 2.199)
DISPLAY_P3 = profile_of(((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), 2.2)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", *AVIF])
@pytest.mark.parametrize("profile", [ADOBE_RGB, DISPLAY_P3], ids=["Adobe RGB", "Display P3"])
def test_wide_colours_become_those_of_srgb(profile: bytes, form: str) -> None:
    stored = Image.new("RGB", (40, 40), (200, 90, 60))
    plain, wide = colour(saved(stored, form)), colour(saved(stored, form, icc_profile=profile))
    # What the numbers mean in the wider space is more vivid.
    assert wide[0] > plain[0] + 8
    assert open_picture(saved(stored, "PNG", icc_profile=profile), LIMIT).getpixel((5, 5)) == (200, 90, 60)


def test_colours_keep_their_bits_where_the_profile_is_srgb_or_broken() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (own, b"no profile", ADOBE_RGB[:200], b""):
        assert np.array_equal(np.asarray(seen(saved(noise, "PNG", icc_profile=profile))), np.asarray(noise))


def test_a_profile_of_another_kind_of_colour_counts_as_none() -> None:
    assert colour(saved(Image.new("L", (20, 20), 100), "PNG", icc_profile=ADOBE_RGB)) != (0, 0, 0)
    cmyk = saved(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG", icc_profile=ADOBE_RGB)
    assert colour(cmyk)[0] > 230


def test_lab_colours_are_shown() -> None:
    lab = Image.merge("LAB", [Image.new("L", (20, 20), value) for value in (136, 208, 195)])
    red, green, blue = colour(saved(lab, "TIFF"))
    assert red > 1.5 * max(green, blue)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "MPO", *AVIF])
def test_of_several_pictures_in_one_file_the_first_is_shown(form: str) -> None:
    first, second = Image.new("RGB", (40, 50), "red"), Image.new("RGB", (40, 50), "blue")
    content = saved(first, form, save_all=True, append_images=[second])
    assert colour(content) == pytest.approx((254, 0, 0), abs=3)


def test_a_cameras_several_pictures_in_one_file_open_as_the_first(tmp_path: Path) -> None:
    path = tmp_path / "stereo.jpg"
    Image.new("RGB", (40, 50), "red").save(
        path, "MPO", save_all=True, append_images=[Image.new("RGB", (40, 50))]
    )
    assert open_picture(path, 10_000).getpixel((5, 5)) == pytest.approx((254, 0, 0), abs=2)


def long_text(kind: bytes) -> bytes:
    words = zlib.compress(b"word " * 1_000_000)
    return chunk(kind, b"prompt\0\0" + (b"\0\0\0" if kind == b"iTXt" else b"") + words)


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("reading", ["as_seen", "reference"])
def test_a_png_with_a_text_longer_than_pillow_reads_is_read(place: str, reading: str) -> None:
    png = saved(four_colours(), "PNG")
    text = long_text(b"zTXt")
    content = after_header(png, text) if place == "before" else png[:-12] + text + png[-12:]
    assert len(zlib.decompress(text[16:-4])) > PngImagePlugin.MAX_TEXT_CHUNK
    assert open_picture(content, LIMIT, reading).convert("RGB") == four_colours()  # type: ignore[arg-type]
    assert read_header(io.BytesIO(content)).width == 64


def test_a_png_with_many_long_texts_or_a_broken_one_is_read() -> None:
    png = saved(four_colours(), "PNG")
    broken = bytearray(chunk(b"tEXt", b"title\0words"))
    broken[-1] ^= 255
    for content in (after_header(png, *[long_text(b"zTXt")] * 80), after_header(png, bytes(broken))):
        assert seen(content) == four_colours()
        assert read_header(io.BytesIO(content)).height == 32


@pytest.mark.skipif(not AVIF, reason="this Pillow reads no AVIF")
def test_avif_is_read() -> None:
    assert "AVIF" in FORMATS
    assert ".avif" in ENDINGS
    assert colour(saved(Image.new("RGB", (40, 40), "red"), "AVIF")) == pytest.approx((254, 0, 0), abs=4)


@pytest.mark.skipif(not HEIF, reason="pillow-heif, the extra heif, is not installed")
def test_heic_is_read_with_the_extra() -> None:
    assert ".heic" in ENDINGS
    assert colour(saved(Image.new("RGB", (64, 64), "red"), "HEIF")) == pytest.approx((254, 0, 0), abs=4)


@pytest.mark.parametrize("ending", [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif"])
def test_usual_endings_are_of_what_opens(ending: str) -> None:
    assert ending in ENDINGS


# The reference's reading.


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_the_reference_reads_the_pixels_as_they_are_stored(mode: str) -> None:
    form = "TIFF" if mode == "CMYK" else "PNG"
    content = saved(Image.effect_noise((30, 20), 90).convert("L").convert(mode), form)
    with Image.open(io.BytesIO(content)) as plain:
        plain.load()
        opened = open_picture(content, LIMIT, "reference")
        assert opened.mode == plain.mode
        assert opened.tobytes() == plain.tobytes()


def test_both_readings_are_one_for_a_plain_photo(real_data: Path) -> None:
    photos = sorted((real_data / "clothing-photos" / "images").iterdir())
    alike = 0
    for photo in photos[:20]:
        with Image.open(photo) as picture:
            plain = "icc_profile" not in picture.info and picture.getexif().get(0x0112, 1) == 1
        if plain:
            ways = [open_picture(photo, 10**8, "reference"), open_picture(photo, 10**8, "as_seen")]
            one, other = (prepare_picture(each, 64, "targetpad") for each in ways)
            assert np.array_equal(one, other)
            alike += 1
    assert alike > 5
