"""Pictures made small: thumbnails for pages."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cir_assets.engines.cores import granted_cores
from cir_assets.pictures.opening import UnreadablePicture, open_picture, refusal
from cir_assets.store.files import open_workshop

THUMBNAIL_STEPS = ((144, 82), (120, 78), (96, 72), (80, 62), (64, 50), (48, 40))
"""Longest side in pixels and JPEG quality, tried in turn until all pictures fit the budget."""

BESIDE_SIDE = 128
"""Longest side in pixels of thumbnails in files of their own."""

LARGEST_SIDE = 256
"""Pictures wait at this size while the step that fits is looked for."""


@dataclass(frozen=True)
class Thumbnails:
    """Small pictures by image id, each as a data URI; and why a picture has none."""

    uris: Mapping[str, str]
    reasons: Mapping[str, str]


def small_picture(path: Path | None, side: int, pixel_limit: int) -> Image.Image:
    """A picture of at most ``side`` x ``side`` pixels, RGB, upright, what is see-through shown on white.

    Raises:
        UnreadablePicture: when there is no such picture or it does not decode; the message says why.
    """
    if path is None:
        raise UnreadablePicture("the data set has no file for it")
    return shrunk(open_picture(path, pixel_limit, "as_seen"), side)


def shrunk(picture: Image.Image, side: int) -> Image.Image:
    """A picture, opened ``as_seen``, of at most ``side`` x ``side`` pixels.

    Raises:
        NotReadNow: when memory does not suffice.
    """
    try:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    except MemoryError as error:
        raise refusal(error) from error
    return picture


def small_pictures(
    images: Iterable[str], picture_path: Callable[[str], Path | None], side: int, pixel_limit: int
) -> tuple[dict[str, Image.Image], dict[str, str]]:
    """Open many pictures small: image id -> picture, and image id -> reason for those that do not open."""
    wanted = list(dict.fromkeys(images))

    def open_small(image: str) -> Image.Image | str:
        try:
            return small_picture(picture_path(image), side, pixel_limit)
        except UnreadablePicture as error:
            return str(error)

    pictures: dict[str, Image.Image] = {}
    reasons: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=min(4, granted_cores())) as threads:
        for image, found in zip(wanted, threads.map(open_small, wanted), strict=True):
            if isinstance(found, str):
                reasons[image] = found
            else:
                pictures[image] = found
    return pictures, reasons


def thumbnails(
    images: Iterable[str], picture_path: Callable[[str], Path | None], *, budget: int, pixel_limit: int
) -> Thumbnails:
    """JPEG thumbnails as data URIs, each picture once.

    Args:
        images: ids; repeated ones count once.
        picture_path: image id -> its file, or None.
        budget: bytes all data URIs may take together; the smallest step is taken where none fits.
        pixel_limit: pictures of more pixels are not opened.
    """
    pictures, reasons = small_pictures(images, picture_path, LARGEST_SIDE, pixel_limit)
    uris: dict[str, str] = {}
    for side, quality in THUMBNAIL_STEPS:
        uris = {image: _data_uri(picture, side, quality) for image, picture in pictures.items()}
        if sum(map(len, uris.values())) <= budget:
            break
    return Thumbnails(uris, reasons)


def thumbnails_beside(
    images: Iterable[str], picture_path: Callable[[str], Path | None], folder: Path, *, pixel_limit: int
) -> dict[str, str]:
    """JPEG thumbnails as files of a folder, each picture once; those there already are not made again.

    A file's name is the digest of the picture's id, and its time that of the picture it was made from; files of
    pictures no longer asked for are removed.

    Args:
        images: ids; repeated ones count once.
        picture_path: image id -> its file, or None.
        folder: made if it is not there.
        pixel_limit: pictures of more pixels are not opened.

    Returns:
        Image id -> name of its file; pictures that do not open have none.

    Raises:
        OSError: a thumbnail cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = {
        image: f"{hashlib.sha256(image.encode()).hexdigest()[:16]}.jpg" for image in dict.fromkeys(images)
    }

    def write_small(image: str) -> str | None:
        destination, path = folder / names[image], picture_path(image)
        moment = path.stat().st_mtime_ns if path is not None and path.is_file() else None
        if moment is not None and destination.is_file() and destination.stat().st_mtime_ns == moment:
            return None
        try:
            picture = small_picture(path, BESIDE_SIDE, pixel_limit)
        except UnreadablePicture:
            return image
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=78, optimize=True)
        beside = workshop / names[image]
        beside.write_bytes(content.getvalue())
        if moment is not None:
            os.utime(beside, ns=(moment, moment))
        beside.replace(destination)
        return None

    # One for them all: thousands of small files would each wait for the disk, and look for what others left.
    with open_workshop(folder) as workshop, ThreadPoolExecutor(min(4, granted_cores())) as threads:
        for unreadable in threads.map(write_small, list(names)):
            if unreadable is not None:
                del names[unreadable]
    kept = set(names.values())
    for file in folder.glob("*.jpg"):
        if file.name not in kept:
            file.unlink()
    return names


def _data_uri(picture: Image.Image, side: int, quality: int) -> str:
    """A picture as a JPEG in a data URI."""
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    small.save(content, "JPEG", quality=quality, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
