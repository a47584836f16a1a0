"""Fetching FashionIQ: its annotations, checked, and its pictures from lists of addresses, one pattern or an archive."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cir_assets.datasets.archives import unpack
from cir_assets.datasets.asking import FetchFailed, Politeness, Verdict, host_of, in_own_network, local_path
from cir_assets.datasets.fetching import (
    FetchReport,
    PictureAddress,
    fetch_file,
    fetch_pictures,
    read_picture_list,
)
from cir_assets.datasets.locating import ENDINGS
from cir_assets.datasets.tables import SPLITS
from cir_assets.engines.progress import ProgressFactory, terminal_progress

Category = Literal["dress", "shirt", "toptee"]
CATEGORIES: tuple[Category, ...] = get_args(Category)

ANNOTATIONS: Mapping[str, str] = {
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


class FashionIQFetch(BaseModel):
    """Where FashionIQ is fetched from: annotations, and pictures in one of three ways."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    annotations: str = Field(
        description="Address of a folder that holds captions/ and image_splits/, or of a ZIP or TAR of them.",
        min_length=1,
    )
    check_annotations: bool = Field(
        default=True, description="Take only the published files, by their SHA-256; figures compare then."
    )
    categories: tuple[Category, ...] = Field(
        default=CATEGORIES, min_length=1, description="Categories fetched."
    )
    picture_lists: str | None = Field(
        default=None, description="Address of a folder that holds asin2url.<category>.txt."
    )
    picture_address: str | None = Field(
        default=None,
        description="Address of a picture, with {image} in place of its id.",
        pattern=r"\{image\}",
    )
    picture_archive: str | None = Field(
        default=None, description="Address of a ZIP or TAR of pictures named by id, in whatever folders."
    )
    picture_archive_sha256: str | None = Field(
        default=None, description="The archive's SHA-256 in hexadecimal.", pattern="^[0-9a-f]{64}$"
    )
    ask_dead_links_again: bool = Field(
        default=False, description="Ask addresses again that never gave a picture (404, a page, no picture)."
    )
    connections: int = Field(default=8, ge=1, le=64, description="Pictures fetched at the same time.")
    requests_per_second: float = Field(
        default=20.0, gt=0, le=1_000, description="Of all connections together."
    )
    attempts: int = Field(default=4, ge=1, le=20, description="Tries before a failure is taken as one.")
    backoff_seconds: float = Field(
        default=0.5, ge=0, le=60, description="Wait before the second try; doubles."
    )
    timeout_seconds: float = Field(default=20.0, gt=0, le=600, description="For connecting, and for silence.")
    trusted_hosts: tuple[str, ...] = Field(
        default=(),
        # What is fetched is the same with it: it is left out where settings are compared.
        exclude=True,
        description="Hosts of one's own network that public addresses may lead to.",
    )

    @model_validator(mode="after")
    def _one_way_to_pictures(self) -> Self:
        ways = (self.picture_lists, self.picture_address, self.picture_archive)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("name one of picture_lists, picture_address and picture_archive")
        return self

    @property
    def politeness(self) -> Politeness:
        """How servers are asked."""
        return Politeness(
            connections=self.connections,
            requests_per_second=self.requests_per_second,
            attempts=self.attempts,
            backoff_seconds=self.backoff_seconds,
            timeout_seconds=self.timeout_seconds,
            trusted_hosts=self.trusted_hosts,
        )


def fetch_named_pictures(
    fetch: FashionIQFetch,
    folder: Path,
    named: Sequence[str],
    progress: ProgressFactory = terminal_progress,
) -> FetchReport:
    """Bring the pictures that annotations name into ``folder``/images; what is there is not fetched again.

    Args:
        fetch: where from.
        folder: made if need be.
        named: ids of pictures.
        progress: where it is told how far it is.

    Raises:
        FetchFailed: lists or the archive cannot be had, or the pictures' host gives none; what was fetched is kept.
        RefusedArchive: the archive is broken or not to be trusted.
        BrokenAnnotations: lists cannot be read.
    """
    if fetch.picture_archive is not None:
        return _from_archive(fetch, fetch.picture_archive, folder, named, progress)
    if fetch.picture_address is not None:
        wanted = [PictureAddress(image, fetch.picture_address.format(image=image)) for image in named]
    else:
        known: dict[str, str] = {}
        for category in fetch.categories:
            name = f"asin2url.{category}.txt"
            address = f"{str(fetch.picture_lists).rstrip('/')}/{name}"
            listed = read_picture_list(_small_file(fetch, address, folder / "addresses" / name))
            _require_public(address, listed, fetch.trusted_hosts)
            known |= listed
        wanted = [PictureAddress(image, known[image]) for image in named if image in known]
    return fetch_pictures(
        wanted,
        folder / "images",
        politeness=fetch.politeness,
        ask_dead_links_again=fetch.ask_dead_links_again,
        progress=progress,
    )


def fetch_annotations(
    fetch: FashionIQFetch, folder: Path, progress: ProgressFactory = terminal_progress
) -> None:
    """Bring captions/ and image_splits/ of the categories into ``folder``, each file checked if asked to."""
    names = [
        name
        for category in fetch.categories
        for split in SPLITS
        for name in (f"image_splits/split.{category}.{split}.json", f"captions/cap.{category}.{split}.json")
    ]
    base = fetch.annotations.rstrip("/")
    if _ARCHIVE.search(base):
        archive = fetch_file(
            base, folder / "fetched" / "annotations", politeness=fetch.politeness, progress=progress
        )
        unpack(archive, folder / "fetched" / "annotations_unpacked", _annotation_place)
        base = str(folder / "fetched" / "annotations_unpacked")
    with progress("fetch annotations", len(names), "files") as shown:
        for name in names:
            expected = ANNOTATIONS.get(name) if fetch.check_annotations else None
            _small_file(fetch, f"{base}/{name}", folder / name, expected)
            shown.advance()


def _small_file(fetch: FashionIQFetch, address: str, destination: Path, sha256: str | None = None) -> Path:
    """Fetch annotations or a list: megabytes, in minutes."""
    return fetch_file(
        address,
        destination,
        sha256=sha256,
        largest_bytes=200_000_000,
        deadline_seconds=1_800,
        politeness=fetch.politeness,
    )


def _require_public(address: str, listed: Mapping[str, str], trusted: Collection[str]) -> None:
    """See that a list from elsewhere names no place in one's own network, which only its owner may name.

    Raises:
        FetchFailed: naming list and host.
    """
    if local_path(address) is not None or in_own_network(address):
        return
    for host, named in {host_of(named): named for named in listed.values()}.items():
        if urlsplit(named).hostname not in trusted and in_own_network(named):
            raise FetchFailed(
                f"{address} names {host}, which lies in this machine's own network; nothing of it was asked. If that "
                "is meant, add it to trusted_hosts, or fetch the list by hand",
                verdict=Verdict.REFUSED,
            )


def _annotation_place(member: PurePosixPath) -> str | None:
    if not _ANNOTATION.fullmatch(member.name):
        return None
    return f"{'captions' if member.name.startswith('cap') else 'image_splits'}/{member.name}"


def _from_archive(
    fetch: FashionIQFetch, address: str, folder: Path, named: Sequence[str], progress: ProgressFactory
) -> FetchReport:
    """Unpack the named pictures, whatever folders the archive has them in; once for an address and checksum."""
    images, note = folder / "images", folder / "fetched" / "pictures.json"
    identity = {"address": address, "sha256": fetch.picture_archive_sha256}
    wanted = set(named)
    before = _stems(images) & wanted
    if not note.is_file() or note.read_text(encoding="utf-8") != json.dumps(identity):
        archive = fetch_file(
            address,
            folder / "fetched" / "pictures",
            sha256=fetch.picture_archive_sha256,
            politeness=fetch.politeness,
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
