"""Unpacking archives that strangers made: nothing outside the folder, no bombs, nothing half-written."""

from __future__ import annotations

import errno
import gzip
import hashlib
import lzma
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Self

from cir_assets.store.files import write_folder_whole, write_one_of_many

GIB = 1 << 30
BLOCK = 1 << 20
UNSUSPICIOUS = 100_000_000
"""Unpacked bytes below which the ratio of an archive is not judged: it can do no harm."""


BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
)
"""What the libraries raise for damaged archives; a full disk is none of it."""


class RefusedArchive(ValueError):
    """An archive that is broken, or not what it should be; the message names the member and what to do."""


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold."""

    members: int = 2_000_000
    member_bytes: int = 4 * GIB
    total_bytes: int = 200 * GIB
    ratio: float = 200.0
    """Unpacked bytes to packed ones; pictures hardly shrink, so more is a bomb."""


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path,
    destination: Path,
    place: Callable[[PurePosixPath], str | None],
    limits: Limits = DEFAULT_LIMITS,
) -> list[str]:
    """Take files out of a ZIP or TAR (plain, gz, bz2, xz) archive; its kind is found by its content.

    Every header is judged before anything is written. Each file is written beside and renamed.

    Args:
        archive: the file.
        destination: folder the places are relative to.
        place: where a member goes, as a relative posix path, or None to leave it.
        limits: how much it may hold.

    Returns:
        The places written, sorted.

    Raises:
        RefusedArchive: a member leads out of the folder or is a link or a device, two members go to one place,
            there is more in it than the limits allow or than it says, it is encrypted, broken, or no archive.
        OSError: there is no room for it, or a file cannot be written; none is half there.
    """
    with _opened(archive) as members:
        placed: dict[str, _Member] = {}
        for member in _judged(archive, members, limits):
            wished = place(PurePosixPath(member.name))
            if wished is None:
                continue
            if not wished or _leads_out(wished):
                raise RefusedArchive(
                    f"{archive}: {member.name!r} would be placed at {wished!r}, which leads out of {destination}; "
                    "correct the rule that places it"
                )
            where = str(PurePosixPath(wished))
            if where in placed:
                raise RefusedArchive(
                    f"{archive}: {placed[where].name} and {member.name} would both become {where}; "
                    "remove one of them from the archive"
                )
            placed[where] = member
        for where, member in placed.items():
            for folder in map(str, PurePosixPath(where).parents):
                if folder in placed:
                    raise RefusedArchive(
                        f"{archive}: {placed[folder].name} would become the file {folder}, and {member.name} would "
                        "lie in a folder of that name; remove one of them from the archive"
                    )
        _require_room(archive, destination, sum(member.size for member in placed.values()))
        for where, member in placed.items():
            _write(archive, member, destination / where)
    return sorted(placed)


def _require_room(archive: Path, destination: Path, needed: int) -> None:
    destination.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(destination).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"{archive} unpacks to {needed:,} bytes and {destination} has {free:,} free; make room there",
        )


NOTE = ".unpacked"
"""Beside what was unpacked: the archive's SHA-256, and how many files came out of it."""


def unpack_whole(archive: Path, folder: Path, wanted: Callable[[PurePosixPath], bool]) -> None:
    """Make ``folder`` hold the files of an archive that are wanted, where they lie in it, and nothing else.

    Where they are there already nothing is written, so this may be called before every look. Else they are unpacked
    beside and take the folder's place together; of an archive that is refused, what was there before stays.

    Raises:
        RefusedArchive: as for ``unpack``.
    """
    with archive.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    note = folder / NOTE
    there = sum(file.is_file() for file in folder.rglob("*")) - 1
    if note.is_file() and note.read_text(encoding="utf-8") == f"{digest} {there}":
        return
    with write_folder_whole(folder) as beside:
        files = unpack(archive, beside, lambda member: str(member) if wanted(member) else None)
        (beside / NOTE).write_text(f"{digest} {len(files)}", encoding="utf-8")


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[_Member]]:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                yield _zip_members(archive, packed)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive, tarinfo=_Header) as rolled:
                yield _tar_members(archive, rolled)
        else:
            raise RefusedArchive(
                f"{archive} is no ZIP or TAR archive, or only half of one; fetch it again, and see that its address "
                "gives the archive itself and not a page about it"
            )
    except BROKEN as error:
        raise RefusedArchive(f"{archive} is broken ({error}); fetch it again") from error
    except OSError as error:
        if error.errno is not None:
            raise
        # bz2 has no error of its own: an OSError without a number is damaged data, one with it is the disk.
        raise RefusedArchive(f"{archive} is broken ({error}); fetch it again") from error


class _Header(tarfile.TarInfo):
    """A header that must read: tarfile itself takes a damaged or absent one for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """As tarfile does, but only two blocks of zeros are the end."""
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":
                raise
            raise tarfile.ReadError(f"{error}; it is cut off or damaged") from error


def _zip_members(archive: Path, packed: zipfile.ZipFile) -> Iterator[_Member]:
    for info in packed.infolist():
        if info.flag_bits & 0x1:
            raise RefusedArchive(
                f"{archive}: {info.filename} is encrypted; give an archive without a password"
            )
        kind = info.external_attr >> 28
        if kind not in (0, 0o10, 0o04):
            raise RefusedArchive(f"{archive}: {info.filename} is a link or a device; only files are taken")
        # The name as it stands in the file: zipfile itself cuts it at a zero byte, and stumbles if nothing is left.
        if not info.orig_filename.endswith("/"):
            yield _Member(info.orig_filename, info.file_size, lambda info=info: packed.open(info))  # type: ignore[misc]


def _tar_members(archive: Path, rolled: tarfile.TarFile) -> Iterator[_Member]:
    for info in rolled:
        if info.isdir():
            continue
        if not info.isreg():
            raise RefusedArchive(f"{archive}: {info.name} is a link or a device; only files are taken")

        def opened(info: tarfile.TarInfo = info) -> IO[bytes]:
            stream = rolled.extractfile(info)
            assert stream is not None
            return stream

        yield _Member(info.name, info.size, opened)


def _judged(archive: Path, members: Iterable[_Member], limits: Limits) -> Iterator[_Member]:
    """The members, each judged before the next header is read: a bomb is not read to its end."""
    total = 0
    packed = max(archive.stat().st_size, 1)
    for count, member in enumerate(members, start=1):
        if count > limits.members:
            raise RefusedArchive(
                f"{archive} holds more than {limits.members:,} files: no archive of pictures, or not this one alone"
            )
        if _leads_out(member.name):
            raise RefusedArchive(
                f"{archive}: {member.name!r} leads out of the folder it is unpacked into; this archive is not to be "
                "trusted"
            )
        if not 0 <= member.size <= limits.member_bytes:
            raise RefusedArchive(
                f"{archive}: {member.name} has {member.size:,} bytes, more than {limits.member_bytes:,} or no size "
                "at all; this archive is not to be trusted"
            )
        total += member.size
        if total > limits.total_bytes or (total > UNSUSPICIOUS and total / packed > limits.ratio):
            raise RefusedArchive(
                f"{archive} has {packed:,} bytes and would unpack to {total:,} or more (allowed are "
                f"{limits.total_bytes:,}, and {limits.ratio:g} times its size): a bomb, or no archive of pictures"
            )
        yield member


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    away = path.is_absolute() or ".." in path.parts or not path.parts
    return away or re.match("[A-Za-z]:", name) is not None or "\0" in name


def _write(archive: Path, member: _Member, file: Path) -> None:
    try:
        with write_one_of_many(file) as beside, member.open() as stream, beside.open("wb") as written:
            left = member.size
            while block := stream.read(BLOCK):
                left -= len(block)
                if left < 0:
                    raise RefusedArchive(
                        f"{archive}: {member.name} unpacks to more than the {member.size:,} bytes it says; refused"
                    )
                written.write(block)
            if left:
                raise RefusedArchive(
                    f"{archive}: {member.name} ends {left:,} bytes early; fetch the archive again"
                )
    except BROKEN as error:
        raise RefusedArchive(f"{archive}: {member.name} is broken ({error}); fetch it again") from error
    except OSError as error:
        if error.errno is not None:
            raise OSError(
                error.errno,
                f"{file} cannot be written ({error.strerror}); make room there, or see to its permissions",
            ) from error
        raise RefusedArchive(f"{archive}: {member.name} is broken ({error}); fetch it again") from error
