"""Fetching FashionIQ: its annotations, checked, and its pictures from lists of addresses, one pattern or an archive."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cir_assets.datasets.archives import unpack
from cir_assets.datasets.fashioniq import CATEGORIES, read_fashioniq
from cir_assets.datasets.fetching import (
    ENDINGS,
    POLITE,
    FetchReport,
    PictureAddress,
    Politeness,
    fetch_file,
    fetch_pictures,
    read_picture_list,
)
from cir_assets.engines.progress import ProgressFactory, terminal_progress

SPLITS = ("train", "val", "test")

PUBLISHED: Mapping[str, str] = {
    "captions/cap.dress.test.json": "190240b3b4d115cd4f80de65ab78ca18a3f8581c041cbeea6f5a1f57ee4f5a48",
    "captions/cap.dress.train.json": "1691bd52e5bbda755b0c1f14d1024000be2c57a0cc29511a327af1372636a946",
    "captions/cap.dress.val.json": "5e5117d45695df9c3ca91fac3e0bc49e6422ae9c8b3793f0ac9b3ab83adb7de9",
    "captions/cap.shirt.test.json": "27c7551b005d4befa53135a7ddee5e31c97821eafd3ceb3fec514e7ac0ad83a7",
    "captions/cap.shirt.train.json": "0999ce5da01a38f0cef1547941b738f4c56e225fdd9b8e03e2a6edaf292f94c3",
    "captions/cap.shirt.val.json": "7b7ca3797b85dddfd83e74cdb4454cb63e3e7c09acef2590155efbacea6d7feb",
    "captions/cap.toptee.test.json": "db822aa52340ce1f09c3000064f79b60b6c476b50b98bf34200dd2996c06e146",
    "captions/cap.toptee.train.json": "6daa171a9e744823087780a3b69b8b697bd05526adb6dd55a38ee6c4904ab348",
    "captions/cap.toptee.val.json": "b4e09f428e6c255cc4b4ec46e77908305ab83075d82840c960be81af15cdc5eb",
    "image_splits/split.dress.test.json": "1d1d3af24b9ec4ed3f7805c53a870148df9b51e232b32912505d8ae54718353d",
    "image_splits/split.dress.train.json": "dcb1c7329003e85e39a3010147a620cee4b7de6a5ddf2626f253bc9a2cdd78e5",
    "image_splits/split.dress.val.json": "21ff91d53c23859da91bfd49f3acc139b7f3a3dc944fc4e4a80194468cf14bab",
    "image_splits/split.shirt.test.json": "8d243830e80e77c23c8dc9a85db87813230d38da146f0706082db812f591968b",
    "image_splits/split.shirt.train.json": "1552c05d866d31b43321a719b2cb8a65f02c53e9a6bc355861fe1d62498b9983",
    "image_splits/split.shirt.val.json": "b82effbf7352a6f828b38c45eb32e53d726bd4d6fd81d6290c81eeb2c68e3234",
    "image_splits/split.toptee.test.json": "25a30d4f4013a04026585399b10980db7cba39dfaad0d97a0671a62e2125ddbf",
    "image_splits/split.toptee.train.json": "aa9b3a55332340f21360fb6a3fe174badd27ce389fe7d78d890bf2b9032ffe05",
    "image_splits/split.toptee.val.json": "ee42b2505275dd7a19b11ddb88c9264aab2d77f4e59b075fb1c7c3095d02f412",
}
"""SHA-256 of the annotation files as they are published; figures compare only where these are equal."""

_ARCHIVE = re.compile(r"\.(zip|tar|tgz|tar\.(gz|bz2|xz))$")
_ANNOTATION = re.compile(r"(?:cap|split)\.[^.]+\.(?:train|val|test)\.json")


@dataclass(frozen=True)
class Addresses:
    """Where FashionIQ is fetched from; one of the three for pictures is given.

    Attributes:
        annotations: a folder that holds captions/ and image_splits/, or an archive of them; http, https or local.
        check_annotations: whether each file must be the published one, by its SHA-256.
        categories: those fetched.
        picture_lists: a folder that holds asin2url.<category>.txt.
        picture_address: an address with {image} in place of the id.
        picture_archive: a ZIP or TAR of pictures named by id, in whatever folders.
        picture_archive_sha256: of that archive; None accepts what comes.
        ask_dead_links_again: ask addresses too that gave no picture before.
        politeness: how servers are asked.
    """

    annotations: str
    check_annotations: bool = True
    categories: Sequence[str] = CATEGORIES
    picture_lists: str | None = None
    picture_address: str | None = None
    picture_archive: str | None = None
    picture_archive_sha256: str | None = None
    ask_dead_links_again: bool = False
    politeness: Politeness = POLITE


def fetch_fashioniq(
    addresses: Addresses, folder: Path, progress: ProgressFactory = terminal_progress
) -> FetchReport:
    """Bring FashionIQ into ``folder``: captions/, image_splits/ and images/; what is there is not fetched again.

    Args:
        addresses: where from.
        folder: made if need be.
        progress: where it is told how far it is.

    Raises:
        FetchFailed: annotations or the archive cannot be had, an annotation file differs from the published one,
            or the pictures' host is down; what was fetched is kept.
        RefusedArchive: an archive is broken or not to be trusted.
        BrokenAnnotations: annotations or lists cannot be read.
    """
    fetch_annotations(addresses, folder, progress)
    named = read_fashioniq(folder).pictures["image"].to_list()
    if addresses.picture_archive is not None:
        return _from_archive(addresses, folder, named, progress)
    if addresses.picture_address is not None:
        wanted = [PictureAddress(image, addresses.picture_address.format(image=image)) for image in named]
    else:
        known: dict[str, str] = {}
        for category in addresses.categories:
            name = f"asin2url.{category}.txt"
            place = folder / "addresses" / name
            known |= read_picture_list(
                fetch_file(
                    f"{str(addresses.picture_lists).rstrip('/')}/{name}",
                    place,
                    politeness=addresses.politeness,
                )
            )
        wanted = [PictureAddress(image, known[image]) for image in named if image in known]
    return fetch_pictures(
        wanted,
        folder / "images",
        politeness=addresses.politeness,
        ask_dead_links_again=addresses.ask_dead_links_again,
        progress=progress,
    )


def fetch_annotations(
    addresses: Addresses, folder: Path, progress: ProgressFactory = terminal_progress
) -> None:
    """Bring captions/ and image_splits/ of the categories into ``folder``, each file checked if asked to."""
    names = [
        name
        for category in addresses.categories
        for split in SPLITS
        for name in (f"image_splits/split.{category}.{split}.json", f"captions/cap.{category}.{split}.json")
    ]
    base = addresses.annotations.rstrip("/")
    if _ARCHIVE.search(base):
        archive = fetch_file(
            base, folder / "fetched" / "annotations", politeness=addresses.politeness, progress=progress
        )
        unpack(archive, folder / "fetched" / "annotations_unpacked", _annotation_place)
        base = str(folder / "fetched" / "annotations_unpacked")
    with progress("fetch annotations", len(names), "files") as shown:
        for name in names:
            expected = PUBLISHED.get(name) if addresses.check_annotations else None
            fetch_file(f"{base}/{name}", folder / name, sha256=expected, politeness=addresses.politeness)
            shown.advance()


def _annotation_place(member: PurePosixPath) -> str | None:
    if not _ANNOTATION.fullmatch(member.name):
        return None
    return f"{'captions' if member.name.startswith('cap') else 'image_splits'}/{member.name}"


def _from_archive(
    addresses: Addresses, folder: Path, named: list[str], progress: ProgressFactory
) -> FetchReport:
    """Unpack the named pictures, whatever folders the archive has them in; once for an address and checksum."""
    assert addresses.picture_archive is not None
    images, note = folder / "images", folder / "fetched" / "pictures.json"
    identity = {"address": addresses.picture_archive, "sha256": addresses.picture_archive_sha256}
    wanted = set(named)
    before = _stems(images) & wanted
    if not note.is_file() or json.loads(note.read_text(encoding="utf-8")) != identity:
        archive = fetch_file(
            addresses.picture_archive,
            folder / "fetched" / "pictures",
            sha256=addresses.picture_archive_sha256,
            politeness=addresses.politeness,
            progress=progress,
        )

        def place(member: PurePosixPath) -> str | None:
            hidden = member.name.startswith(".")
            taken = member.suffix.lower() in ENDINGS and member.stem in wanted and not hidden
            return f"{member.stem}{member.suffix.lower()}" if taken else None

        unpack(archive, images, place)
        note.write_text(json.dumps(identity), encoding="utf-8")
        # It is as large as the pictures, and can be had again.
        archive.unlink()
    there = _stems(images) & wanted
    size = sum(file.stat().st_size for file in images.iterdir()) if images.is_dir() else 0
    return FetchReport(len(there - before), len(before), {}, {}, size, 0.0)


def _stems(folder: Path) -> set[str]:
    return {file.stem for file in folder.iterdir()} if folder.is_dir() else set()
