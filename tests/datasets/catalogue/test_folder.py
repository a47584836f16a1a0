"""Any folder people have: what is no plain picture is told and left out, once each, and nothing is waited for."""

from __future__ import annotations

import os
import shutil
import socket
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cir_assets.datasets.catalogue import read_catalogue
from cir_assets.datasets.catalogue.folder import files_below, pictures_and_issues, printable
from cir_assets.datasets.dataset_source import WatchedFiles
from cir_assets.datasets.tables import BrokenAnnotations
from cir_assets.pictures.scanning import content_keys, scan_pictures
from tests.datasets.catalogue.conftest import details, pictures, table, told


def images(folder: Path) -> list[str]:
    """Paths of what would be read."""
    return pictures_and_issues(folder)[0]


def issues(folder: Path) -> dict[str, tuple[str, str]]:
    return {row["subject"]: (row["kind"], row["detail"]) for row in pictures_and_issues(folder)[1]}


def state(folder: Path) -> str | None:
    return WatchedFiles(folder, None).state()


def test_links_that_lead_nowhere_are_told_and_the_rest_is_read(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "a.png", "b.png")
    (root / "gone.jpg").symlink_to("/nowhere/x.jpg")
    (root / "itself.jpg").symlink_to("itself.jpg")
    (root / "through.jpg").symlink_to("a.png/x.jpg")
    (root / "good.png").symlink_to("a.png")
    assert images(root) == ["a.png", "b.png", "good.png"]
    assert issues(root) == {
        "gone.jpg": ("missing_picture", "gone.jpg is a link to nowhere"),
        "itself.jpg": ("missing_picture", "itself.jpg is a link that leads to itself"),
        "through.jpg": ("missing_picture", "through.jpg is a link to nowhere"),
    }
    file = table(tmp_path, "reference,target,caption,split", "gone.jpg,a.png,x,val", "a.png,b.png,y,val")
    read = read_catalogue(root, file)
    assert read.triplets["triplet_id"].to_list() == ["row-2"]
    assert ("unknown_picture", "row-1") in told(read)


def test_linked_folders_are_read_once_each_and_by_their_own_place(tmp_path: Path) -> None:
    pictures(tmp_path / "elsewhere", "x.png", "below/y.png")
    root = pictures(tmp_path / "p", "a.png", "hats/b.png")
    (root / "0-first").symlink_to(root / "hats")
    (root / "2024").symlink_to(tmp_path / "elsewhere")
    (root / "2025").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(".")
    (root / "hats" / "up").symlink_to(tmp_path)
    assert images(root) == ["2024/below/y.png", "2024/x.png", "a.png", "hats/b.png"]
    assert issues(root) == {
        "0-first": ("unread_folder", "a folder that is read as hats"),
        "2025": ("unread_folder", "a folder that is read as 2024"),
        "hats/up": ("unread_folder", "a link to a folder that holds it"),
        "loop": ("unread_folder", "a link to a folder that holds it"),
    }
    assert state(root) == state(root)


def test_a_link_into_a_linked_folder_s_inside_ends(tmp_path: Path) -> None:
    pictures(tmp_path / "elsewhere", "in/x.png")
    (tmp_path / "elsewhere" / "in" / "back").symlink_to(tmp_path / "elsewhere")
    root = pictures(tmp_path / "p", "a.png")
    (root / "link").symlink_to(tmp_path / "elsewhere")
    assert images(root) == ["a.png", "link/in/x.png"]
    assert issues(root) == {"link/in/back": ("unread_folder", "a folder that is read as link")}


def test_names_that_are_no_utf_8_are_told_in_a_form_any_file_holds(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "a.png", "b.png")
    shutil.copyfile(root / "a.png", os.fsencode(root) + b"/caf\xe9.png")
    (Path(os.fsdecode(os.fsencode(root) + b"/\xff"))).mkdir()
    shutil.copyfile(root / "a.png", os.fsencode(root) + b"/\xff/c.png")
    assert images(root) == ["a.png", "b.png"]
    assert issues(root) == {
        "caf\\xe9.png": ("unreadable_picture", "its name is no UTF-8 text; rename it"),
        "\\xff": ("unread_folder", "a folder whose name is no UTF-8 text: rename it"),
    }
    before = state(root)
    (Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.png"))).write_bytes(b"changed")
    assert before is not None
    assert state(root) != before


def test_pipes_sockets_and_devices_are_never_opened(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "a.png")
    os.mkfifo(root / "pipe.png")
    (root / "empty.png").touch()
    (root / "null.png").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listening:
        # The address may not be long.
        address = Path(f"/proc/self/fd/{os.open(root, os.O_RDONLY)}/socket.png")
        listening.bind(str(address))
        assert images(root) == ["a.png", "empty.png"]
    assert issues(root) == {
        "null.png": ("missing_picture", "null.png is a device, no file"),
        "pipe.png": ("missing_picture", "pipe.png is a named pipe, no file"),
        "socket.png": ("missing_picture", "socket.png is a socket, no file"),
    }
    assert content_keys(["empty.png", "pipe.png", "null.png", "socket.png"], root).keys() == {"empty.png"}
    assert read_catalogue(root, None).pictures["image"].to_list() == ["a.png", "empty.png"]


def test_what_one_may_not_read_is_told_and_read_once_one_may(unprivileged: Path) -> None:
    root = pictures(unprivileged / "p", "a.png", "b.png", "below/c.png")
    shutil.copyfile(root / "a.png", root / "copy.png")
    (root / "copy.png").chmod(0)
    (root / "below").chmod(0)
    memory = unprivileged / "memory.parquet"
    read = read_catalogue(root, None, memory=memory)
    assert read.pictures["image"].to_list() == ["a.png", "b.png", "copy.png"]
    assert details(read, "unread_folder") == ["a folder that cannot be listed: Permission denied"]
    _, unreadable, _ = scan_pictures(read.pictures, root)
    assert unreadable.rows() == [
        ("missing_picture", "copy.png", "copy.png: it cannot be read: Permission denied")
    ]
    forbidden = state(root)
    (root / "copy.png").chmod(0o600)
    (root / "below").chmod(0o700)
    assert state(root) != forbidden
    read = read_catalogue(root, None, memory=memory)
    assert "below/c.png" in read.pictures["image"]
    assert ("same_picture", "a.png") in told(read)


def test_a_folder_one_may_not_list_is_refused_by_name(unprivileged: Path) -> None:
    (unprivileged / "p").mkdir(mode=0o000)
    with pytest.raises(BrokenAnnotations, match=r"/p cannot be listed \(Permission denied\)"):
        read_catalogue(unprivileged / "p", None)
    assert state(unprivileged / "p") is not None


def test_a_file_that_goes_between_listing_and_looking_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pictures(tmp_path / "p", "a.png", "b.png", "c.png")
    list_folder = os.scandir

    class Listing(list[os.DirEntry[str]]):
        """A folder's entries, of which one goes as soon as they are read."""

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            (root / "b.png").unlink()
            return iter(self)

        def __exit__(self, *error: object) -> None: ...

        def close(self) -> None: ...

    monkeypatch.setattr(os, "scandir", lambda place: Listing(list_folder(place)))
    found, said = pictures_and_issues(root)
    assert found == ["a.png", "c.png"]
    assert [row["detail"] for row in said] == ["b.png is gone since the folder was listed"]


def test_every_other_ending_is_told_in_one_row(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "a.jpg", "G.JPEG")
    for name in ("b.jfif", "c.jpe"):
        shutil.copyfile(root / "a.jpg", root / name)
    for name in ("d.psd", "e.jxl", "f.JXL", "f.jp2", "notes.txt", "README", "gone.txt.bak"):
        (root / name).touch()
    (root / "gone.txt").symlink_to("nowhere")
    file = table(root, "reference,target,caption,split", "a,b,bluer,val")
    read = read_catalogue(root, file)
    assert read.pictures["image"].to_list() == ["G.JPEG", "a.jpg", "b.jfif", "c.jpe"]
    others = {subject: detail for kind, subject, detail in read.issues.rows() if kind != "same_picture"}
    assert others == {
        ".psd": "1 file is left out: Photoshop's format is not read; save as JPEG or PNG (first: d.psd)",
        ".bak": "1 file is left out: named as no picture (first: gone.txt.bak)",
        ".jxl": ("2 files are left out: JPEG XL is not read; save as JPEG or PNG (first: e.jxl)"),
        ".jp2": "1 file is left out: JPEG 2000 is not read; save as JPEG or PNG (first: f.jp2)",
        ".txt": "2 files are left out: named as no picture (first: gone.txt)",
        "no ending": "1 file is left out: named as no picture (first: README)",
    }
    assert {kind for kind, subject in told(read) if subject in (".psd", ".jxl", ".jp2")} == {"unread_format"}


def test_what_systems_leave_behind_is_passed_over(tmp_path: Path) -> None:
    root = pictures(
        tmp_path / "p", "a.png", ".hidden.png", ".git/b.png", "__MACOSX/c.png", "@eaDir/a.png/thumb.jpg"
    )
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (root / name).touch()
    assert images(root) == ["a.png"]
    assert issues(root) == {}


def test_the_walk_ends_in_a_folder_deeper_than_a_path_may_be(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "a.png")
    place = os.open(root, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("d" * 100, dir_fd=place)
        place = os.open("d" * 100, os.O_RDONLY, dir_fd=place)
    assert images(root) == ["a.png"]
    [(kind, reason)] = issues(root).values()
    assert (kind, reason) == ("unread_folder", "not to be looked at: File name too long")


def test_reader_and_watcher_see_the_same_files(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "a.png", "below/b.png")
    shown = {found.path for found in files_below(root)}
    assert shown == set(images(root))
    before = state(root)
    (root / ".hidden").touch()
    assert state(root) == before
    changes: list[Callable[[], object]] = [
        lambda: (root / "c.png").symlink_to("nowhere"),
        lambda: (root / "below" / "b.png").chmod(0o600),
        lambda: os.utime(root / "a.png", ns=(1, 1)),
        lambda: (root / "a.png").unlink(),
        lambda: (root / "new").symlink_to("below"),
    ]
    for change in changes:
        change()
        assert state(root) != before
        before = state(root)


def test_a_memo_that_a_power_cut_left_empty_counts_as_none(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "a.png")
    shutil.copyfile(root / "a.png", root / "b.png")
    memory = tmp_path / "content_keys.parquet"
    for content in (b"", b"PAR1 nonsense PAR1"):
        memory.write_bytes(content)
        keys = content_keys(["a.png", "b.png"], root, memory)
        assert keys["a.png"] == keys["b.png"]
    assert memory.stat().st_size > 100


def test_names_are_shown_as_bytes_only_where_they_are_no_text() -> None:
    assert printable("café/é.png") == "café/é.png"
    assert printable(unicodedata.normalize("NFD", "é.png")) == "e\u0301.png"
    assert printable("caf\udce9.png") == "caf\\xe9.png"
