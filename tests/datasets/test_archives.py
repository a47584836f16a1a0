"""Archives give their files, and nothing ever lands outside the folder they are unpacked into."""

from __future__ import annotations

import errno
import io
import random
import re
import shutil
import tarfile
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cir_assets.datasets import archives
from cir_assets.datasets.archives import NOTE, Limits, RefusedArchive, unpack, unpack_whole


def by_name(member: PurePosixPath) -> str | None:
    return f"images/{member.name}" if member.suffix == ".jpg" else None


def make_zip(file: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return file


def make_tar(file: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(file, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_files_are_placed_by_the_rule_and_the_rest_is_left(tmp_path: Path, kind: str) -> None:
    members = {"set/deep/a.jpg": b"picture a", "set/b.jpg": b"picture b", "set/readme.txt": b"words"}
    archive = tmp_path / "archive.bin"
    _ = make_zip(archive, members) if kind == "zip" else make_tar(archive, members, kind)
    assert unpack(archive, tmp_path / "out", by_name) == ["images/a.jpg", "images/b.jpg"]
    assert (tmp_path / "out" / "images" / "a.jpg").read_bytes() == b"picture a"
    assert len(list((tmp_path / "out").rglob("*.*"))) == 2


@pytest.mark.parametrize("name", ["../x.jpg", "/abs/x.jpg", "a/../../x.jpg", "C:\\x.jpg", "..\\x.jpg"])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_member_that_leads_out_refuses_the_whole_archive(tmp_path: Path, name: str, make: object) -> None:
    archive = tmp_path / "archive"
    _ = make_zip if make is make_zip else make_tar
    _(archive, {"good.jpg": b"1", name: b"2"})
    with pytest.raises(RefusedArchive, match="leads out of the folder"):
        unpack(archive, tmp_path / "out", by_name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("x.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(RefusedArchive, match=r"x\.jpg is a link or a device"):
        unpack(tmp_path / "a.tar", tmp_path / "out", by_name)


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("x.jpg")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(RefusedArchive, match="is a link"):
        unpack(tmp_path / "a.zip", tmp_path / "out", by_name)


def test_a_bomb_is_refused_by_its_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "UNSUSPICIOUS", 1_000_000)
    bomb = make_zip(tmp_path / "a.zip", {"x.jpg": bytes(5_000_000)})
    with pytest.raises(RefusedArchive, match="a bomb"):
        unpack(bomb, tmp_path / "out", by_name)
    with pytest.raises(RefusedArchive, match=r"x\.jpg has 5,000,000 bytes, more than 1,000"):
        unpack(bomb, tmp_path / "out", by_name, Limits(member_bytes=1_000))
    two = make_zip(tmp_path / "b.zip", {"x.jpg": b"1", "y.jpg": b"2"})
    with pytest.raises(RefusedArchive, match="holds more than 1 files"):
        unpack(two, tmp_path / "out", by_name, Limits(members=1))


def test_a_header_that_lies_about_its_size_gives_nothing(tmp_path: Path) -> None:
    file = make_zip(tmp_path / "a.zip", {"x.jpg": bytes(range(256)) * 100})
    whole = file.read_bytes()
    file.write_bytes(whole.replace((25_600).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    with pytest.raises(RefusedArchive, match=r"x\.jpg"):
        unpack(file, tmp_path / "out", by_name)
    assert not list((tmp_path / "out").rglob("*.jpg*"))


def test_a_rule_that_places_outside_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"x.jpg": b"1"})
    with pytest.raises(RefusedArchive, match="correct the rule"):
        unpack(archive, tmp_path / "out", lambda member: f"../{member.name}")
    assert list(tmp_path.iterdir()) == [archive]


def test_a_file_and_a_folder_of_one_name_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a": b"1", "a/b": b"2"})
    with pytest.raises(RefusedArchive, match="would become the file a, and a/b would lie in a folder"):
        unpack(archive, tmp_path / "out", str)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kept", [1024, 1300])
def test_a_tar_cut_off_between_or_in_headers_is_not_taken_for_whole(tmp_path: Path, kept: int) -> None:
    file = make_tar(tmp_path / "a.tar", {"x.jpg": b"1" * 512, "y.jpg": b"2" * 512}, "w")
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(RefusedArchive, match="cut off or damaged"):
        unpack(file, tmp_path / "out", by_name)
    assert not (tmp_path / "out").exists()


def test_a_tar_with_a_damaged_header_inside_is_not_taken_for_its_first_half(tmp_path: Path) -> None:
    file = make_tar(tmp_path / "a.tar", {"x.jpg": b"1" * 512, "y.jpg": b"2" * 512}, "w")
    content = bytearray(file.read_bytes())
    content[1024:1100] = b"\xff" * 76
    file.write_bytes(content)
    with pytest.raises(RefusedArchive, match="cut off or damaged"):
        unpack(file, tmp_path / "out", by_name)


def test_damaged_bz2_and_unknown_compression_are_told_as_broken(tmp_path: Path) -> None:
    file = make_tar(tmp_path / "a.tbz", {"x.jpg": random.Random(1).randbytes(1_000_000)}, "w:bz2")
    content = bytearray(file.read_bytes())
    content[len(content) * 2 // 3 : len(content) * 2 // 3 + 50] = bytes(50)
    file.write_bytes(content)
    with pytest.raises(RefusedArchive, match="fetch it again"):
        unpack(file, tmp_path / "out", by_name)
    strange = make_zip(tmp_path / "b.zip", {"x.jpg": b"1" * 99})
    content = bytearray(strange.read_bytes())
    content[8] = content[content.index(b"PK\x01\x02") + 10] = 77
    strange.write_bytes(content)
    with pytest.raises(RefusedArchive, match=r"x\.jpg is broken"):
        unpack(strange, tmp_path / "out", by_name)


def test_two_members_for_one_place_are_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a/x.jpg": b"1", "b/x.jpg": b"2"})
    with pytest.raises(RefusedArchive, match=r"a/x\.jpg and b/x\.jpg would both become images/x\.jpg"):
        unpack(archive, tmp_path / "out", by_name)


def test_broken_archives_say_so_and_leave_nothing_half_written(tmp_path: Path) -> None:
    whole = make_tar(tmp_path / "a.tgz", {"x.jpg": bytes(range(256)) * 2_000}).read_bytes()
    (tmp_path / "a.tgz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RefusedArchive, match="fetch it again"):
        unpack(tmp_path / "a.tgz", tmp_path / "out", by_name)
    damaged = bytearray(make_zip(tmp_path / "b.zip", {"x.jpg": bytes(range(256)) * 2_000}).read_bytes())
    damaged[200:220] = bytes(20)
    (tmp_path / "b.zip").write_bytes(damaged)
    with pytest.raises(RefusedArchive, match=r"x\.jpg is broken"):
        unpack(tmp_path / "b.zip", tmp_path / "out", by_name)
    (tmp_path / "c.zip").write_text("<html>no archive</html>")
    with pytest.raises(RefusedArchive, match=r"no ZIP or TAR archive.* not a page about it"):
        unpack(tmp_path / "c.zip", tmp_path / "out", by_name)
    assert not [file for file in (tmp_path / "out").rglob("*") if file.is_file()]


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    file = make_zip(tmp_path / "a.zip", {"x.jpg": b"secret"})
    content = bytearray(file.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(content)
    with pytest.raises(RefusedArchive, match="is encrypted"):
        unpack(file, tmp_path / "out", by_name)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), min_size=1, max_size=4))
@example(["\x00"])
def test_nothing_is_ever_written_outside(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        try:
            archive = make_zip(root / "a.zip", {f"{name}.jpg": b"x" for name in names})
        except ValueError:
            return
        # The file system itself refuses names it cannot hold; that is no harm.
        with suppress(RefusedArchive, OSError):
            unpack(archive, root / "out", str)
        outside = [file for file in root.rglob("*") if file.is_file() and root / "out" not in file.parents]
        assert outside == [archive]


def test_an_archive_that_has_no_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", b"x" * 1_000)
    usage = shutil.disk_usage(tmp_path)._replace(free=999)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=r"a\.zip unpacks to 1,000 bytes and .* has 999 free; make room"):
        unpack(tmp_path / "a.zip", tmp_path / "out", lambda member: member.name)
    assert not list((tmp_path / "out").iterdir())


def test_a_disk_that_fills_up_is_told_in_a_sentence_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", b"x" * 1_000)

    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match=r"a\.jpg cannot be written \(No space left on device\); make room"):
        unpack(tmp_path / "a.zip", tmp_path / "out", lambda member: member.name)
    assert not list((tmp_path / "out").iterdir())


def pictures(member: PurePosixPath) -> bool:
    return member.suffix == ".jpg"


def contents(folder: Path) -> dict[str, bytes]:
    found = [file for file in folder.rglob("*") if file.is_file() and file.name != NOTE]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in found}


def test_a_folder_holds_what_the_archive_holds_and_follows_it(tmp_path: Path) -> None:
    archive, folder = tmp_path / "pictures.zip", tmp_path / "raw" / "pictures"
    make_zip(archive, {"red/a.jpg": b"a", "b.jpg": b"b", "readme.txt": b"words"})
    unpack_whole(archive, folder, pictures)
    assert contents(folder) == {"red/a.jpg": b"a", "b.jpg": b"b"}
    make_zip(archive, {"red/a.jpg": b"another", "c.jpg": b"c"})
    unpack_whole(archive, folder, pictures)
    assert contents(folder) == {"red/a.jpg": b"another", "c.jpg": b"c"}
    assert [file.name for file in folder.parent.iterdir()] == ["pictures"]


def test_what_is_there_already_is_not_written_again_and_what_was_taken_away_comes_back(
    tmp_path: Path,
) -> None:
    archive, folder = (
        make_zip(tmp_path / "pictures.zip", {"a.jpg": b"a", "b.jpg": b"b"}),
        tmp_path / "pictures",
    )
    unpack_whole(archive, folder, pictures)
    before = (folder / "a.jpg").stat()
    archive.touch()
    unpack_whole(archive, folder, pictures)
    after = (folder / "a.jpg").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    (folder / "b.jpg").unlink()
    unpack_whole(archive, folder, pictures)
    assert contents(folder) == {"a.jpg": b"a", "b.jpg": b"b"}


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_of_a_refused_archive_what_was_there_before_stays(tmp_path: Path, content: bytes) -> None:
    archive, folder = make_zip(tmp_path / "pictures.zip", {"a.jpg": b"a"}), tmp_path / "raw" / "pictures"
    unpack_whole(archive, folder, pictures)
    for refused in (content, make_zip(tmp_path / "evil.zip", {"b.jpg": b"b", "../x.jpg": b"x"}).read_bytes()):
        archive.write_bytes(refused)
        with pytest.raises(RefusedArchive, match=re.escape(str(archive))):
            unpack_whole(archive, folder, pictures)
        assert contents(folder) == {"a.jpg": b"a"}
        assert [file.name for file in folder.parent.iterdir()] == ["pictures"]
