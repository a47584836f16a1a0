"""What is wrong with a YAML, told so that it can be mended: place, key, what was meant, what is known."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

PLACED = re.compile(r"`?(?P<keys>\S+) at (?P<where>[^`]+:\d+)`?")
"""How Dagster writes where an error is: keys joined by full stops, file and line."""


def told(
    error: ValidationError, model: type[BaseModel], lines: dict[tuple[str, ...], str] | None = None
) -> str:
    """Every mistake of a YAML's ``attributes`` in a sentence each, one a line.

    Args:
        error: as pydantic raised it, or as Dagster has placed it in its file.
        model: what the attributes are checked against.
        lines: keys below ``attributes`` -> file and line, where Dagster has not placed it.
    """
    sentences = []
    for detail in error.errors(include_url=False):
        keys, where = tuple(map(str, detail["loc"])), ""
        if placed := PLACED.fullmatch(keys[0]) if keys else None:
            keys, where = tuple(placed["keys"].split(".")), placed["where"]
        keys = keys[1:] if keys[:1] == ("attributes",) else keys
        where = where or _nearest(lines or {}, keys)
        above, key = ".".join(keys[:-1]), keys[-1] if keys else ""
        if detail["type"] == "extra_forbidden":
            said = f"{above or 'attributes'}: no key {key}{_meant(key, known_keys(model, keys[:-1]))}"
        elif detail["type"] == "missing":
            said = f"{above or 'attributes'}: the key {key} is missing"
        else:
            wanted = detail["msg"].removeprefix("Value error, ")
            said = f"{'.'.join(keys) or 'attributes'}: {wanted}"
            if not isinstance(detail["input"], dict | list | BaseModel):
                said += f", not {detail['input']!r}"
        sentences.append(f"{where}: {said}" if where else said)
    return "\n".join(sentences)


def known_keys(annotation: Any, keys: Sequence[str]) -> list[str]:
    """The keys that may stand at a place of a model, of every model that may stand there."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not keys:
            return sorted(annotation.model_fields)
        field = annotation.model_fields.get(keys[0])
        return known_keys(field.annotation, keys[1:]) if field is not None else []
    if origin is Annotated:
        return known_keys(arguments[0], keys)
    if origin in (Union, UnionType):
        return sorted({key for each in arguments for key in known_keys(each, keys)})
    if origin in (dict, list, tuple) and keys:
        return known_keys(arguments[-1], keys[1:])
    return []


def _meant(key: str, known: Sequence[str]) -> str:
    """What may have been meant by a key, and what there is."""
    close = difflib.get_close_matches(key, known, n=1)
    return (f"; did you mean {close[0]}" if close else "") + (f"; known: {', '.join(known)}" if known else "")


def _nearest(lines: dict[tuple[str, ...], str], keys: tuple[str, ...]) -> str:
    """File and line of a key, or of the nearest one above it."""
    return next((lines[keys[:end]] for end in range(len(keys), -1, -1) if keys[:end] in lines), "")
