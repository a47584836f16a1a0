"""What a file is by its first bytes, so that a refusal can say it."""

from __future__ import annotations

import re

LOOKED_AT = 4_096
"""Bytes that tell."""

_BRANDS = (
    ((b"avif", b"avis"), "an AVIF picture"),
    (
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
        "a HEIC photo, as iPhones take them",
    ),
    ((b"crx ",), "a camera's raw photo (CR3)"),
)
"""Of the box ``ftyp``: the kinds of picture in it. Others are videos."""

_BEGINNINGS = (
    (b"\xff\xd8\xff", "a damaged JPEG"),
    (b"\x89PNG\r\n\x1a\n", "a damaged PNG"),
    (b"GIF8", "a damaged GIF"),
    (b"BM", "a damaged BMP"),
    (b"II*\0", "a damaged TIFF, or a camera's raw photo"),
    (b"MM\0*", "a damaged TIFF, or a camera's raw photo"),
    (b"II+\0", "a BigTIFF"),
    (b"MM\0+", "a BigTIFF"),
    (b"IIRO", "a camera's raw photo (ORF)"),
    (b"IIRS", "a camera's raw photo (ORF)"),
    (b"IIU\0", "a camera's raw photo (RW2)"),
    (b"FUJIFILMCCD-RAW", "a camera's raw photo (RAF)"),
    (b"FOVb", "a camera's raw photo (X3F)"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"8BPS", "a Photoshop picture"),
    (b"gimp xcf", "a GIMP document"),
    (b"\0\0\1\0", "an icon (ICO)"),
    (b"icns", "an icon (ICNS)"),
    (b"DDS ", "a texture (DDS)"),
    (b"qoif", "a QOI picture"),
    (b"v/1\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance HDR picture"),
    (b"%PDF-", "a PDF"),
    (b"%!PS", "a PostScript program"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript program"),
    (b"version https://git-lfs", "a Git LFS pointer"),
    (b"PK\3\4", "a ZIP archive or an office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"\x1aE\xdf\xa3", "a video (Matroska or WebM)"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
    (b"SQLite format 3\0", "an SQLite database"),
)
"""Of a file that did not open: a known picture's beginning is then a damaged one's."""

_MENDS = {
    "a HEIC photo, as iPhones take them": "convert it to JPEG, or install the extra heif",
    "a Git LFS pointer": "fetch the file itself with `git lfs pull`",
    "an HTML page": "perhaps a sign-in or error page saved in its place; fetch the picture again",
    "nothing but zero bytes": "its copy or download did not finish; fetch it again",
    "an empty file": "",
}


def described(content: bytes) -> str | None:
    """What a file that does not open is, by its beginning, and what to do; None where its bytes do not tell.

    Args:
        content: the file, or its first ``LOOKED_AT`` bytes.
    """
    kind = kind_of(content)
    if kind is None:
        return None
    damaged = "damaged" in kind
    mend = _MENDS.get(kind, "fetch or save it again" if damaged else "convert it to JPEG or PNG")
    return f"it is {kind}" + (f": {mend}" if mend else "")


def kind_of(content: bytes) -> str | None:
    """What a file is by its beginning, such as ``a PDF``, with its article; None where its bytes do not tell.

    It is one that did not open: one that begins as a picture that does is ``a damaged`` one.
    """
    head = content[:LOOKED_AT]
    if not head.strip(b"\0"):
        return "nothing but zero bytes" if head else "an empty file"
    if head[4:8] == b"ftyp":
        brands = head[8 : max(16, min(int.from_bytes(head[:4], "big"), 256))]
        named = (kind for brand, kind in _BRANDS if any(each in brands for each in brand))
        return next(named, "a video")
    if head[:4] == b"RIFF":
        return {b"WEBP": "a damaged WebP", b"AVI ": "a video (AVI)", b"WAVE": "a sound (WAV)"}.get(head[8:12])
    if re.match(rb"P[1-7]\s", head):
        return "a Netpbm picture"
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if re.search(rb"<svg[\s/>]", text):
        return "an SVG drawing"
    if re.match(rb"<(!doctype html|html|head|body)", text):
        return "an HTML page"
    if text.startswith(b"<"):
        return "an XML document"
    if not re.search(rb"[\0-\x08\x0e-\x1a\x7f]", head):
        return "a text"
    return None
