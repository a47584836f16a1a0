"""Reading annotation files that strangers wrote: every mistake is told by file and place."""

from __future__ import annotations

import json
import re
import reprlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from cir_assets.datasets.tables import BrokenAnnotations

LONGEST_ID = 240
"""Bytes of a picture's id: with an ending it must be a file's name, which has 255 at most."""

LARGEST_NUMBER = 10**18
"""More digits than any id has; a damaged file may hold thousands."""

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def read_text(file: Path) -> str:
    """Read a text file as JSON files may be written: UTF-8, or UTF-16 or UTF-32, byte order marks left out.

    Raises:
        BrokenAnnotations: when it is absent, no file, or no text, naming file and offset.
    """
    try:
        # A pipe that bears the name would hold us for ever.
        if not stat.S_ISREG(file.stat().st_mode):
            raise BrokenAnnotations(f"{file} is no file; put the annotations there")
        content = file.read_bytes()
    except OSError as error:
        raise BrokenAnnotations(
            f"{file} cannot be read ({error.strerror}); put the annotations there"
        ) from error
    encoding = json.detect_encoding(content)
    try:
        return content.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        raise BrokenAnnotations(
            f"{file}, byte {error.start}: no {encoding.upper()} text ({error.reason}); fetch the file again, or save "
            "it as UTF-8"
        ) from error


def read_json(file: Path) -> Any:
    """Read a JSON file, encoded as ``read_text`` takes it.

    Raises:
        BrokenAnnotations: when it is absent or broken, names a key twice in one object, or holds half a character
            (a lone surrogate), naming file and line, column and offset, or entry and key.
    """
    text = read_text(file)
    objects_with_a_key_twice: dict[int, str] = {}
    kept: list[dict[str, Any]] = []

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            keys = [key for key, _ in pairs]
            objects_with_a_key_twice[id(content)] = next(key for key in keys if keys.count(key) > 1)
            kept.append(content)
        return content

    try:
        content = json.loads(text, object_pairs_hook=made)
    except json.JSONDecodeError as error:
        raise BrokenAnnotations(
            f"{file}, line {error.lineno}, column {error.colno} (character {error.pos}): no valid JSON, "
            f"{error.msg}; the file is broken or only half there, fetch it again"
        ) from error
    except RecursionError as error:
        raise BrokenAnnotations(
            f"{file}: lists or objects stand in each other too deeply for annotations; fetch it again"
        ) from error
    except ValueError as error:
        # Python's own limit: a number of more than 4,300 digits is not turned into one.
        number = re.search(r"\d{4300}", text)
        line = text.count("\n", 0, number.start() if number else 0) + 1
        raise BrokenAnnotations(
            f"{file}, line {line}: a number of thousands of digits; fetch it again"
        ) from error
    if objects_with_a_key_twice or re.search(r"\\u[dD][89a-fA-F]", text):
        for place, value in _places(content):
            if (key := objects_with_a_key_twice.get(id(value))) is not None:
                raise BrokenAnnotations(f"{file}{place}: {key!r} stands there twice; remove one of them")
            for part in (value,) if isinstance(value, str) else value if isinstance(value, dict) else ():
                if _HALF_CHARACTER.search(part):
                    raise BrokenAnnotations(
                        f"{file}{place}: half a character in {part!a:.80}, as if a text was cut within an emoji; "
                        "remove it, or write it whole"
                    )
    return content


def read_list(file: Path) -> list[dict[str, Any]]:
    """Read a JSON file that must be a list of objects.

    Raises:
        BrokenAnnotations: as ``read_json``, and when it is anything else, naming the entry (from 0).
    """
    content = read_json(file)
    if not isinstance(content, list):
        raise BrokenAnnotations(f"{file}: expected a list of entries, found {_type(content)}")
    for entry, row in enumerate(content):
        if not isinstance(row, dict):
            raise BrokenAnnotations(f"{file}, entry {entry}: expected an object, found {_type(row)}")
    return content


def read_object(file: Path) -> dict[str, Any]:
    """Read a JSON file that must be one object.

    Raises:
        BrokenAnnotations: as ``read_json``, and when it is anything else.
    """
    content = read_json(file)
    if not isinstance(content, dict):
        raise BrokenAnnotations(f"{file}: expected an object, found {_type(content)}")
    return content


def text_at(row: dict[str, Any], key: str, where: str) -> str:
    """Return the text under a key.

    Raises:
        BrokenAnnotations: when the key is absent or holds no text.
    """
    if not isinstance(row.get(key), str):
        raise BrokenAnnotations(f"{where}: expected a text under {key!r}, found {_at(row, key)}")
    return str(row[key])


def number_at(row: dict[str, Any], key: str, where: str) -> int:
    """Return the whole, non-negative number under a key.

    Raises:
        BrokenAnnotations: when the key is absent or holds anything else, or more than any id has.
    """
    value = row.get(key)
    if not is_number(value):
        raise BrokenAnnotations(f"{where}: expected a whole number under {key!r}, found {_at(row, key)}")
    return value


def is_number(value: Any) -> TypeGuard[int]:
    """Tell whether a value is a whole, non-negative number that may be an id."""
    return type(value) is int and 0 <= value < LARGEST_NUMBER


def picture_id(value: Any, where: str) -> str:
    """Return a picture's id: text, never a number, and never a path, as it becomes a file's name.

    Raises:
        BrokenAnnotations: when it is anything else, or too long for a file's name.
    """
    if not isinstance(value, str) or not value.strip():
        raise BrokenAnnotations(f"{where}: expected a picture's id as text, found {shown(value)}")
    if any(part in value for part in ("/", "\\", "\0")) or value in (".", ".."):
        raise BrokenAnnotations(
            f"{where}: {shown(value)} holds a path; an id is a file's name without folder and ending"
        )
    if len(value.encode(errors="replace")) > LONGEST_ID:
        raise BrokenAnnotations(
            f"{where}: {shown(value)} is longer than {LONGEST_ID} bytes; no file has such a name"
        )
    return value


def id_at(row: dict[str, Any], key: str, where: str) -> str:
    """Return the picture's id under a key, checked as ``picture_id`` does."""
    if key not in row:
        raise BrokenAnnotations(f"{where}: expected a picture's id under {key!r}, found {_at(row, key)}")
    return picture_id(row[key], f"{where}, {key!r}")


def shown(value: Any) -> str:
    """What was found, for a message: short, however long or deep it is."""
    return _SHORT.repr(value)


def _at(row: dict[str, Any], key: str) -> str:
    return shown(row[key]) if key in row else f"only {', '.join(row):.200}"


def _type(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return names.get(type(value), f"{type(value).__name__} {shown(value)}"[:60])


def _places(content: Any) -> Iterator[tuple[str, Any]]:
    """Every value of a JSON document and where it stands; without recursion, as it may be deep."""
    waiting = [("", content)]
    while waiting:
        place, value = waiting.pop()
        yield place, value
        if isinstance(value, dict):
            waiting += [(f"{place}, {key!a:.80}", part) for key, part in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{place}, entry {number}", part) for number, part in enumerate(value)]
