"""Small pictures of every form and mode, and what disks, downloads and strangers make of files."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from hypothesis import strategies as st
from PIL import Image, ImageCms

from cir_assets.pictures.opening import AVIF, HEIF

SIZE = (36, 28)


def whole_pictures() -> list[bytes]:
    """One small file of each form, mode and manner of compression that Pillow writes."""
    return list(_files())


def _files() -> Iterator[bytes]:
    noise = np.random.default_rng(5).integers(0, 256, (SIZE[1], SIZE[0], 4), np.uint8)
    rgba = Image.fromarray(noise)
    modes = {
        mode: rgba.convert("RGB").convert(mode) for mode in ("1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB")
    }
    modes |= {"RGBA": rgba, "LA": rgba.convert("LA")}
    deep = noise[..., 0].astype(np.uint16) * 257
    modes |= {
        "I;16": Image.fromarray(deep),
        "I;16B": Image.fromarray(deep.astype(">u2")),
        "I": Image.fromarray(deep.astype(np.int32)),
        "F": Image.fromarray(deep.astype(np.float32) / 65_535),
    }
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    notes = {"exif": exif, "icc_profile": profile}
    frames = {"save_all": True}
    many = [
        *[("JPEG", mode, how) for mode in ("L", "RGB", "CMYK") for how in ({}, {"progressive": True}, notes)],
        ("MPO", "RGB", frames),
        *[("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")],
        ("PNG", "RGBA", {**notes, **frames}),
        ("PNG", "L", {"transparency": 7}),
        ("PNG", "P", {"transparency": bytes(range(256))}),
        ("PNG", "RGB", {"transparency": (1, 2, 3)}),
        *[("GIF", mode, how) for mode in ("1", "L", "P", "RGBA") for how in ({}, frames)],
        *[("BMP", mode, {}) for mode in ("1", "L", "P", "RGB", "RGBA")],
        *[("WEBP", mode, how) for mode in ("RGB", "RGBA") for how in ({"lossless": True}, notes, frames)],
        *[("TIFF", mode, {}) for mode in modes],
        *[
            ("TIFF", "RGB", {"compression": how})
            for how in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
        ],
        ("TIFF", "1", {"compression": "group4"}),
        ("TIFF", "YCbCr", {"compression": "jpeg"}),
        ("TIFF", "RGBA", {**notes, **frames}),
        *[(form, mode, how) for form in (*AVIF, *HEIF) for mode in ("RGB", "RGBA") for how in ({}, notes)],
    ]
    for form, mode, how in many:
        stream = io.BytesIO()
        # Copies: Pillow leaves the settings of one form at the pictures it saved.
        more = {"append_images": [modes["RGB"].rotate(180)]} if "save_all" in how else {}
        modes[mode].copy().save(stream, form, **how, **more)
        yield stream.getvalue()


NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""What a width, a length or an offset is set to."""


@st.composite
def mutated(draw: st.DrawFn, wholes: list[bytes]) -> bytes:
    """A file with some of its bytes changed, cut off, cut out, doubled, or of another file; or random bytes."""
    content = bytearray(draw(st.sampled_from(wholes)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        # Headers are where most goes wrong, and are short.
        if draw(st.booleans()):
            place %= 200
        match draw(st.integers(0, 7)):
            case 0 if content:
                content[min(place, len(content) - 1)] ^= 1 << draw(st.integers(0, 7))
            case 1:
                length, number = draw(st.sampled_from((1, 2, 4))), draw(st.sampled_from(NUMBERS))
                written = (number % (1 << 8 * length)).to_bytes(length, "big")
                content[place : place + length] = written if draw(st.booleans()) else written[::-1]
            case 2:
                del content[place:]
            case 3:
                del content[place : place + draw(st.integers(1, 64))]
            case 4:
                content[place:place] = draw(st.binary(max_size=32))
            case 5:
                content[place:place] = content[place : place + draw(st.integers(1, 256))] * draw(
                    st.integers(1, 9)
                )
            case 6:
                other = draw(st.sampled_from(wholes))
                content[place:] = other[draw(st.integers(0, len(other))) :]
            case _:
                content[place : place + 16] = draw(st.binary(min_size=16, max_size=16))
    return bytes(content) if draw(st.integers(0, 20)) else draw(st.binary(max_size=300))
