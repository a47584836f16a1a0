"""Reading annotation files that strangers wrote: every mistake is told by file and place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cir_assets.datasets.tables import BrokenAnnotations


def read_json(file: Path) -> Any:
    """Read a JSON file (UTF-8, with or without a byte order mark).

    Raises:
        BrokenAnnotations: when it is absent or broken, naming file, line, column and offset.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise BrokenAnnotations(
            f"{file}, line {error.lineno}, column {error.colno} (character {error.pos}): no valid JSON, "
            f"{error.msg}; the file is broken or only half there, fetch it again"
        ) from error
    except UnicodeDecodeError as error:
        raise BrokenAnnotations(
            f"{file}, byte {error.start}: no UTF-8 text ({error.reason}); fetch the file again"
        ) from error
    except OSError as error:
        raise BrokenAnnotations(
            f"{file} cannot be read ({error.strerror}); put the annotations there"
        ) from error


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
        found = repr(row[key])[:80] if key in row else f"only {', '.join(row)}"
        raise BrokenAnnotations(f"{where}: expected a text under {key!r}, found {found}")
    return str(row[key])


def number_at(row: dict[str, Any], key: str, where: str) -> int:
    """Return the whole, non-negative number under a key.

    Raises:
        BrokenAnnotations: when the key is absent or holds anything else.
    """
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        found = repr(value)[:80] if key in row else f"only {', '.join(row)}"
        raise BrokenAnnotations(f"{where}: expected a whole number under {key!r}, found {found}")
    return value


def picture_id(value: Any, where: str) -> str:
    """Return a picture's id: text, never a number, and never a path, as it becomes a file's name.

    Raises:
        BrokenAnnotations: when it is anything else.
    """
    if not isinstance(value, str) or not value.strip():
        raise BrokenAnnotations(f"{where}: expected a picture's id as text, found {value!r}")
    if any(part in value for part in ("/", "\\", "\0")) or value in (".", ".."):
        raise BrokenAnnotations(
            f"{where}: {value!r} holds a path; an id is a file's name without folder and ending"
        )
    return value


def id_at(row: dict[str, Any], key: str, where: str) -> str:
    """Return the picture's id under a key, checked as ``picture_id`` does."""
    if key not in row:
        raise BrokenAnnotations(
            f"{where}: expected a picture's id under {key!r}, found only {', '.join(row)}"
        )
    return picture_id(row[key], f"{where}, {key!r}")


def _type(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return names.get(type(value), f"{type(value).__name__} {value!r}"[:60])
