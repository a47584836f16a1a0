"""Which picture a table's cell names: by its path, and as near to it as only one picture is."""

from __future__ import annotations

import json
import re
import unicodedata
from ast import literal_eval
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath


def _composed(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _composed(_composed(name).casefold())


FORMS: Mapping[str, Callable[[str], str]] = {
    "as they are written": lambda name: name,
    "in another Unicode normal form": _composed,
    "in other capitals": _folded,
}
"""In which form names are compared, the nearest first."""

SEPARATORS = ("|", ";", ",", "\n")
"""What may part the names in one cell, besides blanks; the first that is there does."""

AS_WRITTEN = "as they are written"


@dataclass(frozen=True)
class Match:
    """The picture a text names, or why there is none.

    Attributes:
        picture: None where there is none.
        reason: None where there is one.
        form: in which of ``FORMS`` it matched, or what was left off.
    """

    picture: str | None
    reason: str | None = None
    form: str = AS_WRITTEN


class PictureNames:
    """Finds pictures by their paths below the folder, or by those without their endings."""

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        self.names = names
        self.folder = folder
        self._exact = {name: Match(name) for name in names}
        self._separators = {each for each in SEPARATORS if any(each in name for name in names)}
        self._tables: dict[str, tuple[dict[str, list[str]], dict[str, list[str]]]] = {}
        self._found: dict[str, Match] = {}

    def find(self, text: str) -> Match:
        """Return the picture a text names: exactly, else in a form in which it is the only one."""
        match = self._exact.get(text) or self._found.get(text)
        if match is None:
            match = self._found[text] = self._find(text)
        return match

    def members(self, text: str) -> tuple[list[str], list[str]]:
        """Pictures that one cell lists, each once, and why others are not found.

        A cell is one name, or names parted by ``|``, or a list as JSON, Python and NumPy print it, or names parted by
        commas, semicolons or blanks. What is a picture as a whole is not taken apart.
        """
        matches = [self.find(part) for part in self._parts(text)]
        pictures = dict.fromkeys(match.picture for match in matches if match.picture is not None)
        return list(pictures), [match.reason for match in matches if match.reason is not None]

    def forms_used(self) -> Iterator[str]:
        """Yield a sentence a form in which names were found other than as they are written."""
        by_form: dict[str, list[tuple[str, str]]] = {}
        for text, match in self._found.items():
            if match.picture is not None and match.form != AS_WRITTEN:
                by_form.setdefault(match.form, []).append((text, match.picture))
        for form, pairs in sorted(by_form.items()):
            text, picture = min(pairs)
            names = "1 name stands" if len(pairs) == 1 else f"{len(pairs):,} names stand"
            yield f"{names} in the table {form} (first: {text} is {picture})"

    def _find(self, text: str) -> Match:
        path = PurePosixPath(text.replace("\\", "/"))
        outside = path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", text) is not None
        tried = [("", text)] if outside else [("", text), ("", path.as_posix())]
        if path.is_absolute() and path.is_relative_to(self.folder):
            tried.append(("with the whole path", path.relative_to(self.folder).as_posix()))
        if len(path.parts) > 1 and path.parts[0] == self.folder.name:
            tried.append(("with the folder's name before them", PurePosixPath(*path.parts[1:]).as_posix()))
        if re.fullmatch(r"\d+\.0", text):
            tried.append(("as numbers with .0", text[:-2]))
        for manner, name in tried:
            match = self._nearest(name)
            if match is not None:
                return Match(match.picture, match.reason, manner or match.form)
        shown = text if len(text) <= 100 else f"{text[:100]}…"
        if outside:
            return Match(None, f"{shown!r} must be a path below the folder of pictures")
        lost = ", a number: were there zeros before it?" if text.isdecimal() else ""
        return Match(None, f"no picture {shown}{lost}")

    def _nearest(self, name: str) -> Match | None:
        for form, written in FORMS.items():
            for table in self._table(form):
                found = table.get(written(name), [])
                if len(found) == 1:
                    return Match(found[0], None, form)
                if found:
                    some = " or ".join(found[:3]) + (f" or {len(found) - 3} more" if len(found) > 3 else "")
                    alike = len({_composed(each) for each in found}) == 1
                    why = " (they differ in Unicode normal form alone)" if alike else ""
                    return Match(None, f"{name} could be {some}{why}")
        return None

    def _table(self, form: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Pictures by whole name and by name without ending, in one form."""
        if form not in self._tables:
            whole: dict[str, list[str]] = {}
            stems: dict[str, list[str]] = {}
            for name in self.names:
                written = FORMS[form](name)
                whole.setdefault(written, []).append(name)
                stems.setdefault(written.rpartition(".")[0], []).append(name)
            self._tables[form] = whole, stems
        return self._tables[form]

    def _parts(self, text: str) -> Iterable[str]:
        separator = next((each for each in SEPARATORS if each in text), None)
        may_be_whole = separator is None or separator in self._separators
        if may_be_whole and self._nearest(text) is not None:
            return [text]
        if (listed := _as_list(text)) is not None:
            return listed
        if separator is not None:
            return [part.strip() for part in text.split(separator) if part.strip()]
        return self._parted_at_blanks(text.split())

    def _parted_at_blanks(self, words: Sequence[str]) -> Iterator[str]:
        """Take as many words as make a picture's name, again and again; a word that begins none is one by itself."""
        start = 0
        while start < len(words):
            ends = range(min(len(words), start + self._most_words), start + 1, -1)
            named = (end for end in ends if self._nearest(" ".join(words[start:end])) is not None)
            end = next(named, start + 1)
            yield " ".join(words[start:end])
            start = end

    @cached_property
    def _most_words(self) -> int:
        return max((len(name.split()) for name in self.names), default=1)


_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""


def _as_list(text: str) -> list[str] | None:
    """Texts of a bracketed list; None where it is none."""
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        listed = json.loads(text)
        return [str(each).strip() for each in listed if each is not None]
    except (ValueError, RecursionError):
        pass
    inside = text[1:-1].strip()
    # One by one, as Python would join two texts that no comma parts, and NumPy prints none.
    if re.fullmatch(rf"(?:(?:{_QUOTED})\s*,?\s*)+", inside):
        try:
            return [str(literal_eval(quoted)).strip() for quoted in re.findall(_QUOTED, inside)]
        except (ValueError, SyntaxError):
            return None
    if not re.search(r"""["'\[\]]""", inside):
        return [part.strip() for part in inside.split(",") if part.strip()]
    return None
