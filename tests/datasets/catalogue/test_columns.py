"""Columns are known by the words people use for them, and what means nothing is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from cir_assets.datasets.catalogue.columns import COLUMNS, meaning_of
from tests.datasets.catalogue.conftest import ONE, details, read_text, triplets


def test_columns_that_mean_nothing_are_named(root: Path) -> None:
    read = read_text(root, ",reference,target,caption,split,price", "0,p0,p1,is red,val,12")
    assert triplets(read) == ONE
    assert details(read, "assumed") == ["columns that are not read: (no name), price"]


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (("candidate", "image", "text"), COLUMNS[:3]),
        (("Query Image", "Target-Image", "instruction"), COLUMNS[:3]),
        (("reference_image", "target_image", "modification"), COLUMNS[:3]),
        (("text", "caption", "query", "target"), ("caption", "reference", "target")),
        (("CAPTION.2", "Set Members", "img_set"), ("caption_2", "members", "set")),
        (("price", "", "Größe"), ()),
    ],
)
def test_headers_are_known_by_the_words_people_use(headers: tuple[str, ...], found: tuple[str, ...]) -> None:
    meaning = meaning_of(headers, "t.csv")
    assert sorted(meaning.places) == sorted(found)
    assert len(meaning.unread) == len(headers) - len(found)
