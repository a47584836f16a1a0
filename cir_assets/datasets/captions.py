"""Captions as models read them: FashionIQ's two joined, CIRR's one as it stands, CIRCO's with or without its concept.

How a query's words become one text in evaluation is a :class:`TextTemplate`; a protocol names the one it reads by, and
another template is another protocol. Captions that say nothing are kept, as the reference implementation keeps them
and published figures count them; ``caption_issues`` reports them. ``without_placeholders`` leaves them out where a
user asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from cir_assets.datasets.tables import issue

LONG_CAPTION = 1_000
"""Characters above which a caption is reported: the text encoder cuts it at its context length."""

PLACEHOLDERS = frozenset({"na", "n/a", "none"})
"""What annotators wrote who had nothing to say; so is a caption of digits or punctuation alone."""


@dataclass(frozen=True)
class Words:
    """The words of one query, as written.

    Attributes:
        captions: one or two relative captions.
        shared_concept: what reference and target have in common, where the data set tells it.
        reference_caption: what the reference shows, where the data set tells it.
    """

    captions: Sequence[str]
    shared_concept: str | None = None
    reference_caption: str | None = None


@dataclass(frozen=True)
class TextTemplate:
    """How the words of a query become the one text a model reads.

    Attributes:
        name: as it stands in the database.
        description: for people, with an example.
        write: the text of some words.
        needs: the column of the triplets that it reads beside the captions; None for the captions alone.
    """

    name: str
    description: str
    write: Callable[[Words], str]
    needs: Literal["shared_concept", "reference_caption"] | None = None


def strip_caption(caption: str) -> str:
    """Return a caption without the characters ``.?, `` at both ends (reference ``data_utils.py``)."""
    return caption.strip(".?, ")


def evaluation_caption(captions: Sequence[str]) -> str:
    """Say what a query reads in evaluation.

    Of two captions a and b it is "{A} and {b}" in file order, A capitalised (which lower-cases its rest); one
    caption is taken as it stands, without blanks at its ends. An empty one of two gives " and {b}", as in the
    reference implementation.

    Raises:
        ValueError: for no caption, or for more than two, which no protocol joins.
    """
    if len(captions) == 1:
        return captions[0].strip()
    if len(captions) == 2:
        return _joined(*captions)
    raise ValueError(f"a triplet has one or two relative captions, this one has {len(captions)}")


def training_captions(
    captions: Sequence[str], variants: Literal["paper", "joined", "evaluation"] = "paper"
) -> list[str]:
    """List the variants one is drawn from in training, with equal probability, anew each epoch.

    Of two captions a and b they are, for "paper", "{A} and {b}", "{B} and {a}", "{A}", "{B}"; for "joined" the
    first two; for "evaluation" the first, as queries are evaluated. Of one caption, that caption.

    Raises:
        ValueError: as ``evaluation_caption``.
    """
    if len(captions) != 2:
        return [evaluation_caption(captions)]
    first, second = captions
    every = [
        _joined(first, second),
        _joined(second, first),
        strip_caption(first).capitalize(),
        strip_caption(second).capitalize(),
    ]
    return every[: {"paper": 4, "joined": 2, "evaluation": 1}[variants]]


def says_something(caption: str) -> bool:
    """Tell whether a caption is more than blanks, punctuation, a number, or "n/a"."""
    said = strip_caption(caption.strip()).casefold()
    return said not in PLACEHOLDERS and any(character.isalpha() for character in said)


def without_placeholders(captions: Sequence[str]) -> list[str]:
    """Return the captions that say something; all of them where none does, as a triplet has at least one."""
    return [caption for caption in captions if says_something(caption)] or list(captions)


def caption_issues(triplets: pl.DataFrame) -> Iterator[dict[str, str]]:
    """Rows of ``DATA_ISSUES``: captions that are empty, say nothing, or are very long. All of them are kept.

    Kinds: ``empty_caption`` (nothing but blanks), ``placeholder_caption`` ("n/a", "2", "."),
    ``long_caption`` (more than ``LONG_CAPTION`` characters). The subject is ``<split>/<triplet_id>``.
    """
    # Of most captions two words tell that they say something; the others are looked at one by one.
    said = pl.element().str.contains(r"[A-Za-z]\S*\s+\S*[A-Za-z]")
    plain = pl.col("captions").list.eval(said & (pl.element().str.len_chars() <= LONG_CAPTION)).list.all()
    doubtful = triplets.filter(~plain).select("split", "triplet_id", "captions")
    for split, triplet, captions in doubtful.iter_rows():
        for number, caption in enumerate(captions, start=1):
            which = f"caption {number} of {len(captions)}"
            subject = f"{split}/{triplet}"
            if not caption.strip():
                yield issue("empty_caption", subject, f"{which} is empty; kept")
            elif not says_something(caption):
                yield issue("placeholder_caption", subject, f"{which} is {caption!r}; kept")
            elif len(caption) > LONG_CAPTION:
                yield issue(
                    "long_caption",
                    subject,
                    f"{which} has {len(caption):,} characters; the text encoder cuts it at its context",
                )


def _joined(first: str, second: str) -> str:
    return f"{strip_caption(first).capitalize()} and {strip_caption(second)}"


def _beside(before: str | None, words: Words) -> str:
    """A text, a comma, the caption; the one that is there where the other is empty."""
    return ", ".join(
        part for part in ((before or "").strip(" ,."), evaluation_caption(words.captions)) if part
    )


RELATIVE_CAPTION = TextTemplate(
    "relative_caption",
    'one caption as it stands; of two, "{A} and {b}" in file order: "Is red and longer"',
    lambda words: evaluation_caption(words.captions),
)
CONCEPT_AND_CAPTION = TextTemplate(
    "concept_and_caption",
    'the shared concept, a comma, the relative caption: "a dog, is running in the snow"; without a concept the '
    "caption alone",
    lambda words: _beside(words.shared_concept, words),
    needs="shared_concept",
)
REFERENCE_AND_CAPTION = TextTemplate(
    "reference_and_caption",
    'the caption of the reference, a comma, the relative caption: "a red dress, longer and darker"; without the '
    "former the latter alone",
    lambda words: _beside(words.reference_caption, words),
    needs="reference_caption",
)

TEMPLATES: Mapping[str, TextTemplate] = {
    template.name: template for template in (RELATIVE_CAPTION, CONCEPT_AND_CAPTION, REFERENCE_AND_CAPTION)
}
"""Every template by name."""
