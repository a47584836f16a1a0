"""A file that is no picture is named by what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from cir_assets.pictures.magic import described
from cir_assets.pictures.opening import HEIF, UnreadablePicture, open_picture

FILES = {
    "HEIC": (b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", "HEIC photo"),
    "HEIC of another brand": (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "HEIC photo"),
    "AVIF": (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "AVIF"),
    "JPEG XL": (b"\xff\x0a\x18\x7f\x02\x40", "JPEG XL"),
    "JPEG XL in a box": (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ", "JPEG XL"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    "MP4": (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", "video"),
    "MOV": (b"\0\0\0\x14ftypqt  ", "video"),
    "AVI": (b"RIFF\x24\0\0\0AVI LIST", "video"),
    "SVG": (b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    "PDF": (b"%PDF-1.7\n", "PDF"),
    "HTML": (b"<!DOCTYPE html><html><title>Sign in</title>", "HTML page"),
    "HTML after a mark": (b"\xef\xbb\xbf\n <html>", "HTML page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
    "raw photo": (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "raw photo"),
    "PSD": (b"8BPS\0\1" + bytes(20), "Photoshop"),
    "ZIP": (b"PK\3\4\x14\0", "ZIP"),
    "zeros": (bytes(5_000), "zero bytes"),
    "nothing": (b"", "an empty file"),
    "text": ("{'détail': 'not found'}".encode(), "a text"),
    "half a JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF", "damaged JPEG"),
    "half a PNG": (b"\x89PNG\r\n\x1a\n\0\0", "damaged PNG"),
    "half a WebP": (b"RIFF\x24\0\0\0WEBPVP", "damaged WebP"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_named_by_its_beginning(kind: str, tmp_path: Path) -> None:
    content, said = FILES[kind]
    assert said in (described(content) or "")
    if kind == "AVIF" or kind.startswith("half") or (kind.startswith("HEIC") and HEIF):
        return
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UnreadablePicture, match=said):
        open_picture(tmp_path / "a.jpg", 10_000)


def test_bytes_that_tell_nothing_are_not_named() -> None:
    assert described(bytes(range(1, 256))) is None
