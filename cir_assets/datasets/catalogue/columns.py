"""What a table's columns mean, whatever case and words their headers are written in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cir_assets.datasets.tables import BrokenAnnotations

NEEDED = ("reference", "target", "caption")
OPTIONAL = ("caption_2", "split", "category", "set", "members", "shared_concept", "reference_caption")
COLUMNS = (*NEEDED, *OPTIONAL)

SYNONYMS = {
    "reference": (
        "candidate",
        "query_image",
        "query",
        "reference_image",
        "ref",
        "ref_image",
        "source_image",
        "source",
    ),
    "target": ("target_image", "image"),
    "caption": (
        "relative_caption",
        "modification_text",
        "modification",
        "modifying_text",
        "modifier",
        "instruction",
        "text",
        "query_text",
        "prompt",
    ),
    "caption_2": ("caption2", "second_caption", "relative_caption_2", "text_2"),
    "set": ("set_id", "img_set", "image_set"),
    "members": ("set_members", "img_set_members"),
}
"""What else people call a column; of several in one table the first listed here is taken."""


@dataclass(frozen=True)
class Meaning:
    """Which columns of a table are read.

    Attributes:
        places: column of ``COLUMNS`` -> its position in the table; only those that are there.
        other_words: (written, read as) of headers that are synonyms.
        unread: headers that mean nothing here, as they are written.
    """

    places: dict[str, int]
    other_words: list[tuple[str, str]]
    unread: list[str]


def meaning_of(headers: Sequence[str], where: str) -> Meaning:
    """Find the columns of ``COLUMNS`` among headers: as they are, else by the first synonym that is there.

    Args:
        headers: as they are written; capitals, blanks, dots and hyphens do not matter.
        where: named in what is raised.

    Raises:
        BrokenAnnotations: two headers of the same name are one of these columns.
    """
    places: dict[str, int] = {}
    other_words: list[tuple[str, str]] = []
    plain = [re.sub(r"[\s._-]+", "_", header.strip().casefold()) for header in headers]
    for column in COLUMNS:
        for word in (column, *SYNONYMS.get(column, ())):
            if word not in plain:
                continue
            if plain.count(word) > 1:
                raise BrokenAnnotations(f"{where}: column {word} stands there twice; rename or remove one")
            places[column] = plain.index(word)
            if word != column:
                other_words.append((headers[places[column]].strip(), column))
            break
    taken = set(places.values())
    unread = [header.strip() or "(no name)" for number, header in enumerate(headers) if number not in taken]
    return Meaning(places, other_words, unread)


def require(meaning: Meaning, headers: Sequence[str], where: str) -> None:
    """See that every needed column is there.

    Raises:
        BrokenAnnotations: naming what is missing, what was found, and what there may be.
    """
    missing = [column for column in NEEDED if column not in meaning.places]
    if missing:
        found = ", ".join(header.strip()[:40] for header in headers[:20]) or "nothing"
        raise BrokenAnnotations(
            f"{where}: no column {', '.join(missing)}; found {found}, needed are {', '.join(NEEDED)} "
            f"(optional: {', '.join(OPTIONAL)}), named in the first row and parted by commas in a CSV"
        )
