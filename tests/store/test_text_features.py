"""A caption is encoded once for each text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cir_assets.store.text_features import TextFeatures

captions = st.lists(st.text(max_size=12), min_size=1, max_size=8)


class Encoder:
    """Gives each caption a feature of its own and remembers what it was asked."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale, self.asked = scale, list[str]()

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        rows = [[self.scale * len(text), self.scale * sum(map(ord, text)), 1.0] for text in texts]
        return np.array(rows, dtype=np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "quick" / "combiner.parquet"


def test_only_an_edited_caption_is_encoded_again(path: Path) -> None:
    first = TextFeatures(path, "v1", Encoder())
    first(["is red", "is blue", "is red"])
    first.keep()
    encoder = Encoder()
    second = TextFeatures(path, "v1", encoder)
    found = second(["is blue", "is green"])
    assert encoder.asked == ["is green"]
    assert (second.encoded, second.reused) == (1, 1)
    np.testing.assert_array_equal(found, Encoder()(["is blue", "is green"]))


def test_another_encoder_begins_anew(path: Path) -> None:
    first = TextFeatures(path, "v1", Encoder())
    first(["is red"])
    first.keep()
    second = TextFeatures(path, "v2", Encoder(2.0))
    np.testing.assert_array_equal(second(["is red"]), Encoder(2.0)(["is red"]))
    assert second.reused == 0


def test_a_file_cut_off_by_a_power_failure_counts_as_none(path: Path) -> None:
    first = TextFeatures(path, "v1", Encoder())
    first(["is red"])
    first.keep()
    path.write_bytes(path.read_bytes()[:-40])
    second = TextFeatures(path, "v1", Encoder())
    second(["is red"])
    assert (second.encoded, second.reused) == (1, 0)


def test_what_is_no_longer_asked_for_is_dropped_and_nothing_is_left_beside(path: Path) -> None:
    first = TextFeatures(path, "v1", Encoder())
    first(["is red", "is blue"])
    first.keep()
    second = TextFeatures(path, "v1", Encoder())
    second(["is blue"])
    second.keep()
    third = TextFeatures(path, "v1", Encoder())
    third(["is red", "is blue"])
    assert (third.encoded, third.reused) == (1, 1)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@given(captions, captions, captions)
def test_whatever_was_kept_the_features_are_those_of_the_encoder(
    tmp_path_factory: pytest.TempPathFactory, before: list[str], asked: list[str], more: list[str]
) -> None:
    path = tmp_path_factory.mktemp("text") / "features.parquet"
    first = TextFeatures(path, "v1", Encoder())
    first(before)
    first.keep()
    encoder = Encoder()
    second = TextFeatures(path, "v1", encoder)
    for texts in (asked, more):
        np.testing.assert_array_equal(second(texts), Encoder()(texts))
    assert len(encoder.asked) == len(set(encoder.asked))
    assert set(encoder.asked).isdisjoint(before)
    assert second.encoded + second.reused == len({*asked, *more})
