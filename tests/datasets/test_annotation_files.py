"""A broken annotation file is told by file and place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cir_assets.datasets.annotation_files import (
    id_at,
    number_at,
    picture_id,
    read_json,
    read_list,
    read_object,
    text_at,
)
from cir_assets.datasets.tables import BrokenAnnotations


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b'\xef\xbb\xbf["a"]')
    assert read_json(file) == ["a"]


def test_half_a_file_is_told_by_line_column_and_offset(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('[\n  {"a": 1},\n  {"a"')
    with pytest.raises(BrokenAnnotations, match=r"a\.json, line 3, column 7 \(character 20\): no valid JSON"):
        read_json(file)


def test_a_file_in_another_encoding_is_told_by_its_byte(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes('["ombré"]'.encode("latin-1"))
    with pytest.raises(BrokenAnnotations, match=r"a\.json, byte 6: no UTF-8"):
        read_json(file)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenAnnotations, match=r"a\.json cannot be read"):
        read_json(tmp_path / "a.json")


def test_a_list_and_an_object_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"a": 1}')
    with pytest.raises(BrokenAnnotations, match="expected a list of entries, found an object"):
        read_list(file)
    file.write_text('[{"a": 1}, "b"]')
    with pytest.raises(BrokenAnnotations, match="entry 1: expected an object, found a text"):
        read_list(file)
    with pytest.raises(BrokenAnnotations, match="expected an object, found a list"):
        read_object(file)


def test_values_of_another_kind_are_refused_by_place_and_key() -> None:
    row = {"text": "red", "number": 3, "truth": True, "below": -1}
    assert text_at(row, "text", "here") == "red"
    assert number_at(row, "number", "here") == 3
    for key in ("text", "truth", "below", "absent"):
        with pytest.raises(BrokenAnnotations, match=f"here: expected a whole number under '{key}'"):
            number_at(row, key, "here")
    with pytest.raises(BrokenAnnotations, match="here: expected a text under 'number', found 3"):
        text_at(row, "number", "here")
    with pytest.raises(BrokenAnnotations, match="here: expected a picture's id under 'absent'"):
        id_at(row, "absent", "here")


@pytest.mark.parametrize("value", ["../B000", "a/b", "a\\b", "/etc", "..", ".", "a\0b"])
def test_an_id_with_a_path_in_it_is_refused(value: str) -> None:
    with pytest.raises(BrokenAnnotations, match=r"here: .* holds a path"):
        picture_id(value, "here")


@pytest.mark.parametrize("value", [1234567890, None, "", " ", ["a"]])
def test_an_id_that_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(BrokenAnnotations, match="here: expected a picture's id as text"):
        picture_id(value, "here")


@given(
    st.text(st.characters(exclude_characters="/\\\0"), min_size=1, max_size=50).filter(
        lambda t: t.strip(" .") == t
    )
)
def test_any_other_text_is_an_id_and_stays_as_it_is(value: str) -> None:
    if value.strip():
        assert picture_id(value, "here") == value


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("marks", [0, 1])
def test_every_encoding_of_json_is_read_and_byte_order_marks_are_left_out(
    tmp_path: Path, encoding: str, marks: int
) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(("\ufeff" * marks + '["ombré"]').encode(encoding))
    assert read_json(file) == ["ombré"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (r'[{"a": 1}, {"captions": ["so cute \ud83d"]}]', r", entry 1, 'captions', entry 0: half a character"),
        (r'[{"so\udc00": 1}]', ", entry 0: half a character"),
        ('[{"a": 1,\n "b": {"c": 1, "d": 2, "c": 3}}]', ", entry 0, 'b': 'c' stands there twice"),
        ('{"a": "x", "a": "x"}', ": 'a' stands there twice"),
        ("[" * 100_000, ": lists or objects stand in each other too deeply"),
        ('{"a":' * 100_000, ": lists or objects stand in each other too deeply"),
        ('[1,\n' + "9" * 5_000 + "]", ", line 2: a number of thousands of digits"),
        ("", ", line 1, column 1"),
    ],
)  # fmt: skip
def test_whatever_json_may_hold_is_refused_by_its_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(BrokenAnnotations, match=rf"a\.json{message}"):
        read_json(tmp_path / "a.json")


def test_a_whole_character_in_two_escapes_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(r'["so cute \ud83d\ude0d", "C:\\ud83d"]')
    assert read_json(tmp_path / "a.json") == ["so cute 😍", r"C:\ud83d"]


def test_a_pipe_or_a_folder_of_that_name_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(BrokenAnnotations, match=rf"{name}\.json is no file"):
            read_json(tmp_path / f"{name}.json")


def test_a_name_that_no_file_can_have_and_a_number_that_is_no_id_are_refused() -> None:
    with pytest.raises(BrokenAnnotations, match=r"here: 'aaa.*\.\.\..*' is longer than 240 bytes"):
        picture_id("a" * 241, "here")
    with pytest.raises(BrokenAnnotations, match="here: expected a whole number under 'a', found 1000"):
        number_at({"a": 10**30}, "a", "here")
