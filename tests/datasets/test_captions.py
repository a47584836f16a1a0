"""Captions as models read them equal the reference implementation's."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cir_assets.datasets.captions import (
    caption_issues,
    evaluation_caption,
    says_something,
    strip_caption,
    training_captions,
    without_placeholders,
)
from cir_assets.datasets.tables import TRIPLETS, frame

VARIANTS = ("train_both_in_order", "train_both_swapped", "train_first_only", "train_second_only")


def test_captions_equal_the_reference_implementation_s_on_its_own_examples(parity: Path) -> None:
    rows = json.loads((parity / "captions" / "captions.json").read_text())["rows"]
    assert len(rows) == 20
    for row in rows:
        assert evaluation_caption(row["captions"]) == row["validation_text"], row["quirk"]
        assert training_captions(row["captions"]) == [row[variant] for variant in VARIANTS], row["quirk"]


def test_one_caption_is_taken_as_it_stands() -> None:
    assert evaluation_caption([" Make it Blue. "]) == "Make it Blue."
    assert training_captions([" Make it Blue. "]) == ["Make it Blue."]


@pytest.mark.parametrize("captions", [[], ["a", "b", "c"]])
def test_other_numbers_of_captions_are_refused(captions: list[str]) -> None:
    with pytest.raises(ValueError, match=f"has one or two relative captions, this one has {len(captions)}"):
        training_captions(captions)


@given(st.text(), st.text())
def test_every_variant_is_made_of_the_stripped_captions_alone(first: str, second: str) -> None:
    variants = training_captions([first, second])
    assert len(variants) == 4
    assert variants[0] == evaluation_caption([first, second])
    assert variants[0].endswith(f" and {strip_caption(second)}")
    assert variants[2] == strip_caption(first).capitalize()


@pytest.mark.parametrize("caption", ["", "  ", "n/a", "N/A", "na ", ".", "2", "none."])
def test_a_placeholder_says_nothing(caption: str) -> None:
    assert not says_something(caption)
    assert without_placeholders([caption, "is red"]) == ["is red"]
    assert without_placeholders([caption, ""]) == [caption, ""]


@pytest.mark.parametrize("caption", ["red", "nature print", "2 buttons", "ombré", "更蓝"])
def test_words_in_any_script_say_something(caption: str) -> None:
    assert says_something(caption)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(texts=st.lists(st.text(st.sampled_from("na/NAoe .?,2é\n\t")) | st.text(), min_size=1, max_size=20))
def test_exactly_what_says_nothing_is_reported(texts: list[str]) -> None:
    triplets = pl.DataFrame(
        {
            "split": "val",
            "triplet_id": list(map(str, range(len(texts)))),
            "captions": [[text] for text in texts],
        },
        schema_overrides={"captions": pl.List(pl.String)},
    )
    expected = [f"val/{number}" for number, text in enumerate(texts) if not says_something(text)]
    assert [issue["subject"] for issue in caption_issues(triplets)] == expected


def test_captions_that_teach_nothing_or_are_too_long_are_reported() -> None:
    texts = [[" ", "is red"], ["n/a", "is red"], ["x" * 10_000], ["is red"]]
    triplets = frame(
        TRIPLETS,
        [
            {
                "triplet_id": str(row),
                "split": "train",
                "category": "all",
                "reference": "a",
                "target": "b",
                "captions": captions,
                "further_targets": [],
            }
            for row, captions in enumerate(texts)
        ],
    )
    issues = list(caption_issues(triplets))
    assert [(issue["kind"], issue["subject"]) for issue in issues] == [
        ("empty_caption", "train/0"),
        ("placeholder_caption", "train/1"),
        ("long_caption", "train/2"),
    ]
    assert "10,000 characters" in issues[2]["detail"]
