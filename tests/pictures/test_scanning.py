"""What the scan of pictures finds, refuses and remembers."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from cir_assets.datasets.tables import IMAGES, PICTURES, empty, frame
from cir_assets.engines.progress import Progress
from cir_assets.pictures.scanning import content_keys, scan_pictures
from cir_assets.store.contracts import STAT_MEMORY, checked
from tests.datasets.conftest import write_picture


def named(*paths: str) -> pl.DataFrame:
    return frame(PICTURES, [{"image": Path(path).stem, "path": path} for path in paths])


def files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grow by a file's name whenever one is opened from now on."""
    read: list[str] = []
    real = os.open

    def told(path: Path, *given: Any, **named: Any) -> int:
        read.append(Path(path).name)
        return real(path, *given, **named)

    monkeypatch.setattr(os, "open", told)
    return read


def huge_png(side: int) -> bytes:
    """Make a valid black PNG of side x side one-bit pixels, made without holding them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    packer = zlib.compressobj()
    row = bytes(1 + side // 8)
    packed = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def test_a_picture_is_known_by_its_bytes_and_its_header(tmp_path: Path) -> None:
    file = write_picture(tmp_path / "a.png", side=9)
    images, issues, _ = scan_pictures(named("a.png"), tmp_path)
    checked(images, IMAGES)
    assert images.row(0, named=True) == {
        "image": "a",
        "path": "a.png",
        "image_key": hashlib.sha256(file.read_bytes()).hexdigest(),
        "format": "PNG",
        "mode": "RGB",
        "width": 9,
        "height": 9,
        "bytes": file.stat().st_size,
    }
    assert issues.is_empty()


@pytest.mark.parametrize("mode", ["CMYK", "P", "RGBA", "LA", "L", "1", "I;16"])
def test_pictures_of_every_colour_mode_pass(tmp_path: Path, mode: str) -> None:
    name = "a.jpg" if mode == "CMYK" else "a.png"
    Image.new(mode, (6, 4)).save(tmp_path / name)
    images, issues, _ = scan_pictures(named(name), tmp_path)
    assert issues.is_empty()
    assert images.select("mode", "width", "height").row(0) == (mode, 6, 4)


def test_each_bad_picture_is_told_with_its_reason_and_the_others_pass(tmp_path: Path) -> None:
    write_picture(tmp_path / "good.png")
    write_picture(tmp_path / "dot.png", side=1)
    (tmp_path / "text.jpg").write_text("<html>404</html>")
    Image.new("RGB", (16, 16)).save(tmp_path / "icon.png", "ICO")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "huge.png").write_bytes(huge_png(20_000))
    (tmp_path / "folder.png").mkdir()
    paths = (
        "dot.png",
        "good.png",
        "text.jpg",
        "icon.png",
        "empty.png",
        "huge.png",
        "absent.png",
        "folder.png",
    )
    images, issues, _ = scan_pictures(named(*paths), tmp_path)
    assert images["image"].to_list() == ["good"]
    assert issues.rows() == [
        ("unreadable_picture", "dot", "dot.png: 1 x 1 pixels are too few to show anything"),
        (
            "unreadable_picture",
            "text",
            "text.jpg: it is an HTML page: perhaps a sign-in or error page saved in its place; fetch the picture again",
        ),
        ("unreadable_picture", "icon", "icon.png: it is an icon (ICO): convert it to JPEG or PNG"),
        ("unreadable_picture", "empty", "empty.png: it is an empty file"),
        (
            "unreadable_picture",
            "huge",
            "huge.png: 20000 x 20000 are 400,000,000 pixels, more than the limit of 100,000,000",
        ),
        ("missing_picture", "absent", "absent.png is not there"),
        ("missing_picture", "folder", "folder.png is no file"),
    ]


def test_a_truncated_picture_passes_here_as_only_its_header_is_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "JPEG")
    (tmp_path / "half.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    images, issues, _ = scan_pictures(named("half.jpg"), tmp_path)
    assert images.height == 1
    assert issues.is_empty()


def test_a_file_s_content_decides_over_its_ending(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", "JPEG")
    images, _, _ = scan_pictures(named("a.png"), tmp_path)
    assert images["format"].to_list() == ["JPEG"]


def test_the_result_keeps_the_order_asked_for(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(300)]
    for name in names:
        write_picture(tmp_path / name, side=2)
    asked = named(*reversed(names))
    images, _, _ = scan_pictures(asked, tmp_path)
    assert images["image"].to_list() == asked["image"].to_list()


def test_unchanged_files_are_not_read_again_and_changed_ones_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name)
    (tmp_path / "c.png").write_text("no picture")
    pictures = named("a.png", "b.png", "c.png")
    first = scan_pictures(pictures, tmp_path)
    checked(first[2].drop_nulls(), STAT_MEMORY)
    read = files_read(monkeypatch)
    second = scan_pictures(pictures, tmp_path, memory=first[2])
    assert read == []
    assert all(one.equals(other) for one, other in zip(first, second, strict=True))
    write_picture(tmp_path / "b.png", (0, 0, 255), side=10)
    write_picture(tmp_path / "c.png")
    third, issues, _ = scan_pictures(pictures, tmp_path, memory=second[2])
    assert sorted(read) == ["b.png", "c.png"]
    assert issues.is_empty()
    assert third["width"].to_list() == [8, 10, 8]


def test_a_touched_file_is_read_again_and_found_the_same(tmp_path: Path) -> None:
    file = write_picture(tmp_path / "a.png")
    images, _, memory = scan_pictures(named("a.png"), tmp_path)
    os.utime(file, ns=(0, 0))
    again, _, later = scan_pictures(named("a.png"), tmp_path, memory=memory)
    assert again.equals(images)
    assert later["modified_ns"].to_list() == [0]


def test_a_memory_follows_another_pixel_limit(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    _, refused, memory = scan_pictures(named("a.png"), tmp_path, pixel_limit=63)
    assert refused["detail"].to_list() == ["a.png: 8 x 8 are 64 pixels, more than the limit of 63"]
    images, issues, _ = scan_pictures(named("a.png"), tmp_path, pixel_limit=64, memory=memory)
    assert (images.height, issues.height) == (1, 0)


def test_a_memory_of_another_form_is_passed_over(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    images, _, _ = scan_pictures(named("a.png"), tmp_path, memory=pl.DataFrame({"path": ["a.png"]}))
    assert images.height == 1


def test_no_picture_at_all_is_an_empty_result(tmp_path: Path) -> None:
    assert [table.height for table in scan_pictures(empty(PICTURES), tmp_path)] == [0, 0, 0]


def test_progress_counts_every_picture(tmp_path: Path) -> None:
    made: list[Progress] = []

    def progress(description: str, total: int, unit: str) -> Progress:
        made.append(Progress(description, total, unit, log=lambda line: None))
        return made[-1]

    write_picture(tmp_path / "a.png")
    scan_pictures(named("a.png", "absent.png"), tmp_path, progress=progress)
    assert [(shown.total, shown.done) for shown in made] == [(2, 2)]


def test_real_photos_all_open(real_data: Path) -> None:
    root = real_data / "clothing-photos" / "images"
    images, issues, _ = scan_pictures(named(*sorted(file.name for file in root.iterdir())), root)
    assert (images.height, issues.height) == (90, 0)
    assert set(images["format"]) == {"JPEG"}


def test_content_keys_are_equal_for_exact_copies_alone(tmp_path: Path) -> None:
    for name, content in (("a", b"12"), ("b", b"12"), ("c", b"34"), ("d", b"567")):
        (tmp_path / name).write_bytes(content)
    keys = content_keys(["a", "b", "c", "d", "absent"], tmp_path)
    assert keys["a"] == keys["b"] == hashlib.sha256(b"12").hexdigest()
    assert len({keys["a"], keys["c"], keys["d"]}) == 3
    assert "absent" not in keys


def test_content_keys_are_remembered_until_a_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in (("a", b"12"), ("b", b"12"), ("c", b"34")):
        (tmp_path / name).write_bytes(content)
    memory = tmp_path / "raw" / "keys.parquet"
    first = content_keys(["a", "b", "c"], tmp_path, memory)
    read = files_read(monkeypatch)
    assert content_keys(["a", "b", "c"], tmp_path, memory) == first
    assert read == []
    (tmp_path / "c").write_bytes(b"12")
    os.utime(tmp_path / "c", ns=(1, 1))
    assert set(content_keys(["a", "b", "c"], tmp_path, memory).values()) == {first["a"]}
    assert "c" in read
    assert not {"a", "b"} & set(read)
    assert [file.name for file in memory.parent.iterdir()] == ["keys.parquet"]


def test_what_was_refused_is_looked_at_again_when_more_opens(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    _, _, memory = scan_pictures(named("a.png", "b.png"), tmp_path)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    status = (tmp_path / "b.png").stat()
    replaced = pl.col("path") == "b.png"
    # As an older version with fewer formats would have remembered this very file.
    older = memory.with_columns(
        bytes=pl.when(replaced).then(status.st_size).otherwise("bytes"),
        modified_ns=pl.when(replaced).then(status.st_mtime_ns).otherwise("modified_ns"),
        judged_by=pl.lit("fewer formats"),
    )
    images, issues, _ = scan_pictures(named("a.png", "b.png"), tmp_path, memory=older)
    assert (images.height, issues.height) == (2, 0)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES])
def test_a_file_the_system_does_not_give_now_is_told_and_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    write_picture(tmp_path / "a.png")
    with monkeypatch.context() as patched:
        patched.setattr(
            os, "open", lambda *given: (_ for _ in ()).throw(OSError(number, os.strerror(number)))
        )
        images, issues, memory = scan_pictures(named("a.png"), tmp_path)
    assert issues.rows() == [("missing_picture", "a", f"a.png: it cannot be read: {os.strerror(number)}")]
    assert (images.height, memory.height) == (0, 0)
    images, issues, _ = scan_pictures(named("a.png"), tmp_path, memory=memory)
    assert (images.height, issues.height) == (1, 0)


def test_content_keys_leave_out_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "forbidden"):
        (tmp_path / name).write_bytes(b"12")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    real = os.open

    def forbidding(path: Path, *given: Any, **named: Any) -> int:
        if Path(path).name == "forbidden":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *given, **named)

    monkeypatch.setattr(os, "open", forbidding)
    names = ["a", "b", "forbidden", "dangling", "empty", "pipe", "half \ud83d", "zero\0byte"]
    assert set(content_keys(names, tmp_path, tmp_path / "keys.parquet")) == {"a", "b", "empty"}
    assert set(content_keys(names, tmp_path, tmp_path / "keys.parquet")) == {"a", "b", "empty"}


def test_content_keys_are_found_anew_where_the_memory_does_not_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"12")
    memory = tmp_path / "keys.parquet"
    for broken in (b"", b"no Parquet at all"):
        memory.write_bytes(broken)
        assert content_keys(["a", "b"], tmp_path, memory)["a"] == hashlib.sha256(b"12").hexdigest()


def test_a_header_that_speaks_of_more_pixels_than_can_be_counted_stops_nothing(tmp_path: Path) -> None:
    write_picture(tmp_path / "good.png")
    tiff = io.BytesIO()
    Image.new("L", (36, 28)).save(tiff, "TIFF")
    content = bytearray(tiff.getvalue())
    height = content.index(struct.pack("<HHI", 257, 4, 1)) + 8
    content[height : height + 4] = struct.pack("<I", (1 << 31) + 28)
    (tmp_path / "odd.tif").write_bytes(content)
    images, issues, _ = scan_pictures(named("good.png", "odd.tif"), tmp_path)
    assert images["image"].to_list() == ["good"]
    [(kind, image, reason)] = issues.rows()
    assert (kind, image) == ("unreadable_picture", "odd")
    assert "36 x 2147483676 pixels" in reason
