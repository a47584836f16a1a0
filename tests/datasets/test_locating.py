"""Pictures are found where people keep them, and only where one file alone can be meant."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cir_assets.datasets.locating import located, readable


def make(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


EXPECTED = {"a": "train/34/a.png"}


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (["train/34/a.png", "train/a.png"], "train/34/a.png"),
        (["train/34/a.jpg", "train/a.png"], "train/34/a.jpg"),
        (["train/34/a.jpeg", "train/34/a.JPG"], "train/34/a.JPG"),
        (["train/a.png"], "train/a.png"),
        (["images/train/7/a.PNG"], "images/train/7/a.PNG"),
        (["elsewhere/a.jpg", "elsewhere/a.png"], "elsewhere/a.jpg"),
        ([".hidden/a.png", "train/._a.png", "train/a.gif", "train/b.png"], "train/34/a.png"),
        ([], "train/34/a.png"),
    ],
)
def test_a_picture_is_where_it_should_be_or_under_its_name(
    tmp_path: Path, there: list[str], found: str
) -> None:
    assert located(make(tmp_path, *there), EXPECTED) == ({"a": found}, [])


def test_of_two_files_that_could_be_meant_none_is_taken_and_it_is_told(tmp_path: Path) -> None:
    paths, issues = located(make(tmp_path, "old/a.png", "new/a.png"), EXPECTED)
    assert paths == EXPECTED
    assert [(row["kind"], row["subject"]) for row in issues] == [("ambiguous_picture", "a")]
    assert issues[0]["detail"] == "new/a.png or old/a.png; put one of them at train/34/a.png"


def test_linked_folders_are_followed_each_once_and_loops_end(tmp_path: Path) -> None:
    make(tmp_path / "disk", "a.png")
    root = make(tmp_path / "root", "x/b.png")
    (root / "linked").symlink_to(tmp_path / "disk")
    (root / "again").symlink_to(tmp_path / "disk")
    (root / "loop").symlink_to(root)
    (root / "nowhere").symlink_to(tmp_path / "absent")
    assert located(root, {"a": "a.png", "b": "b.png"})[0] == {"a": "again/a.png", "b": "x/b.png"}


def test_a_folder_one_may_not_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not by its permissions: they hold nobody back who runs tests as root.
    scandir = os.scandir

    def closed(folder: str) -> object:
        if str(folder).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", closed)
    paths, [told] = located(make(tmp_path, "closed/a.png", "open/b.png"), {**EXPECTED, "b": "b.png"})
    assert paths == {**EXPECTED, "b": "open/b.png"}
    assert (told["kind"], told["subject"]) == ("unreadable_folder", "closed")


def test_a_folder_whose_name_is_no_utf8_is_told(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    make(folder, "a.png")
    paths, [told] = located(tmp_path, EXPECTED)
    assert paths == EXPECTED
    assert (told["kind"], told["subject"]) == ("unreadable_folder", "caf\\xe9")


@given(st.binary(min_size=1, max_size=20).filter(lambda name: not set(name) & set(b"/\0")))
@settings(derandomize=True)
def test_any_name_becomes_text_that_can_be_written(name: bytes) -> None:
    readable(os.fsdecode(name)).encode("utf-8")
