"""Pictures as people bring them: as large as phones make them, in many forms, and some made to keep a server busy."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cir_assets.pictures.opening import scans_of
from cir_assets.pictures.settings import Preprocessing
from cir_assets.serving.uploads import MOST_SCANS, RefusedInput, Room, Uploads, open_upload

HOW = Preprocessing(64, "targetpad", 1.25, 10**8)


def saved(width: int, height: int, kind: str = "JPEG", mode: str = "RGB", **options: Any) -> bytes:
    """A picture that is red on the left and blue on the right."""
    small = Image.new("RGB", (2, 1))
    small.putdata([(255, 0, 0), (0, 0, 255)])
    buffer = io.BytesIO()
    small.resize((width, height), Image.Resampling.NEAREST).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def in_scans(number: int, width: int = 64, height: int = 64) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    whole = saved(width, height, progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * (number - scans_of(whole)) + whole[-2:]


@pytest.mark.parametrize(
    ("width", "height", "options"),
    [
        (8064, 6048, {}),
        (8160, 6120, {}),
        (8160, 6120, {"progressive": True}),
        (6120, 8160, {"mode": "L"}),
        (8160, 6120, {"mode": "CMYK"}),
        (12000, 9000, {}),
        (16320, 12240, {}),
        (12000, 1000, {}),
        (1000, 12000, {}),
        (16000, 3000, {}),
        (12000, 1000, {"kind": "PNG"}),
        (12000, 1000, {"kind": "WEBP"}),
        (4000, 3000, {}),
    ],
)
def test_what_phones_make_is_taken_and_decoded_no_larger_than_is_needed(
    width: int, height: int, options: dict[str, Any]
) -> None:
    picture = open_upload(saved(width, height, **options))
    assert picture.width * picture.height <= 25_000_000
    assert max(picture.size) <= 10_000
    assert picture.width / picture.height == pytest.approx(width / height, rel=0.01)
    colours = np.asarray(picture.convert("RGB").resize((2, 1), Image.Resampling.BOX)).astype(int)
    if options.get("mode") != "L":
        assert colours[0, 0, 0] > 200 > 60 > colours[0, 0, 2]
        assert colours[0, 1, 2] > 200 > 60 > colours[0, 1, 0]


def test_a_large_picture_is_turned_as_its_camera_says() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    uploads = Uploads()
    for width, height in ((8064, 6048), (12000, 1000)):
        name = uploads.add(saved(width, height, exif=turned), HOW)
        with Image.open(io.BytesIO(uploads.small(name, 512))) as small:
            assert small.height == 512
            assert small.width == pytest.approx(512 * height / width, abs=1)


def test_a_picture_with_another_behind_it_as_phones_keep_depth_and_light_is_its_first() -> None:
    buffer = io.BytesIO()
    whole = Image.open(io.BytesIO(saved(8064, 6048)))
    whole.save(buffer, "MPO", save_all=True, append_images=[Image.new("RGB", (40, 30), "green")])
    assert open_upload(buffer.getvalue()).size == (2016, 1512)


def test_small_pictures_are_decoded_as_they_are() -> None:
    content = saved(900, 700)
    assert np.array_equal(np.asarray(open_upload(content)), np.asarray(Image.open(io.BytesIO(content))))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: saved(6000, 6000, "PNG"), "at most 25,000,000 are taken; send it smaller, or as a JPEG"),
        (
            lambda: saved(16400, 13000),
            "213,200,000 pixels, and at most 210,000,000 are taken; send it smaller",
        ),
        (lambda: saved(9000, 6000, progressive=True), "at most 50,000,000 are taken"),
        (lambda: saved(2, 50_000, "PNG"), "too narrow to show anything"),
        (lambda: saved(90, 1, "PNG"), "too narrow to show anything"),
        (lambda: in_scans(MOST_SCANS + 1), "comes in 101 layers, of which at most 100 are read"),
        (lambda: in_scans(5_000, 4_000, 4_000), "comes in 5,000 layers"),
        (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "this is a HEIC photo, as iPhones take them"),
        (lambda: b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "share or export it as a JPEG"),
        (lambda: b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "this is an AVIF picture"),
        (lambda: b"\0\0\0\x18ftypisom\0\0\0\0", "this is a video"),
        (lambda: b"\0\0\0\x0cJXL \r\n\x87\n", "this is a JPEG XL picture"),
        (lambda: saved(40, 40, "JPEG2000"), "this is a JPEG 2000 picture"),
        (lambda: saved(40, 40, "ICO"), "this is an icon"),
        (lambda: b"8BPS\0\1", "this is a Photoshop picture"),
        (lambda: b"<!doctype html><p>no", "this is an HTML page"),
        (lambda: b"<?xml version='1.0'?>\n<!-- a --><svg/>", "this is an SVG drawing"),
        (
            lambda: b"hello",
            "this is a text, no picture that opens here: send a JPEG, PNG, WebP, GIF, BMP or TIFF",
        ),
        (lambda: saved(90, 90)[:20], "damaged or did not arrive whole"),
        (lambda: saved(900, 900)[:2_000], "damaged or did not arrive whole"),
        (lambda: saved(900, 900, "PNG")[:200], "damaged or did not arrive whole"),
        (lambda: saved(900, 900, "TIFF")[:3_000], "damaged or did not arrive whole"),
    ],
)
def test_what_is_not_taken_is_told_in_words_for_who_only_has_a_picture(content: Any, said: str) -> None:
    with pytest.raises(RefusedInput, match=said) as refused:
        open_upload(content())
    for programmers in ("Error", "cannot identify", "object at", "None", "buffer"):
        assert programmers not in str(refused.value)


def test_scans_are_counted_where_they_are_and_nowhere_else() -> None:
    assert scans_of(saved(64, 64)) == 1
    assert 5 < scans_of(saved(64, 64, progressive=True)) < 20
    assert scans_of(in_scans(90)) == 90
    open_upload(in_scans(90))
    # A camera's own small picture within, and a film behind, are no scans.
    own = saved(64, 64, comment=b"\xff\xda" * 9_000)
    assert scans_of(own + b"\xff\xda" * 9_000) == 1
    assert open_upload(own + b"\xff\xda" * 9_000).size == (64, 64)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.integers(0, 900),
    st.binary(max_size=12),
    st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]),
)
def test_whatever_is_broken_in_a_file_it_opens_or_is_refused(place: int, bytes_: bytes, kind: str) -> None:
    content = saved(40, 30, kind, progressive=True) if kind == "JPEG" else saved(40, 30, kind)
    place %= len(content)
    broken = content[:place] + bytes_ + content[place + len(bytes_) :]
    try:
        picture = open_upload(broken)
    except RefusedInput:
        return
    assert 0 < picture.width * picture.height <= 25_000_000


@given(st.lists(st.integers(0, 12)))
@settings(deadline=None, derandomize=True)
def test_a_room_holds_no_more_than_it_has_place_for(amounts: list[int]) -> None:
    room, inside = Room(20), []
    for amount in amounts:
        if room.take(amount):
            inside.append(amount)
        elif inside:
            room.give(inside.pop())
        assert room.taken == sum(inside) <= 20
