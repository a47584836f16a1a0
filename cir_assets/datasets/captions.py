"""Relative captions as models read them: FashionIQ's two captions joined, CIRR's one as it stands (METHOD, captions)."""

from __future__ import annotations

from collections.abc import Sequence


def strip_caption(caption: str) -> str:
    """A caption without the characters ``.?, `` at both ends (reference ``data_utils.py``)."""
    return caption.strip(".?, ")


def evaluation_caption(captions: Sequence[str]) -> str:
    """What a query says in evaluation.

    Of two captions a and b it is "{A} and {b}" in file order, A capitalised (which lower-cases its rest); one
    caption is taken as it stands, without blanks at its ends.

    Raises:
        ValueError: for no caption, or for more than two, which no protocol joins.
    """
    if len(captions) == 1:
        return captions[0].strip()
    if len(captions) == 2:
        return _joined(*captions)
    raise ValueError(f"a triplet has one or two relative captions, this one has {len(captions)}")


def training_captions(captions: Sequence[str]) -> list[str]:
    """The variants one is drawn from in training, with equal probability, anew each epoch.

    Of two captions a and b: "{A} and {b}", "{B} and {a}", "{A}", "{B}"; of one caption, that caption.

    Raises:
        ValueError: as ``evaluation_caption``.
    """
    if len(captions) != 2:
        return [evaluation_caption(captions)]
    first, second = captions
    return [
        _joined(first, second),
        _joined(second, first),
        strip_caption(first).capitalize(),
        strip_caption(second).capitalize(),
    ]


def _joined(first: str, second: str) -> str:
    return f"{strip_caption(first).capitalize()} and {strip_caption(second)}"
