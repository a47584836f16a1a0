"""The excerpts every clone holds are what they say: the published files' own, to the row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.parity.excerpts import queries, texts_of, vocabulary


def test_the_queries_are_those_of_the_published_annotations(parity: Path, real_data: Path) -> None:
    published = queries(real_data)
    with np.load(parity / "queries.npz") as kept:
        assert set(kept.files) == published.keys()
        for name, values in published.items():
            assert kept[name].dtype == values.dtype, name
            assert np.array_equal(kept[name], values), name


def test_the_vocabulary_is_part_of_the_published_one(parity: Path, real_data: Path) -> None:
    ids, merges = vocabulary(real_data / "clip-tokenizer", texts_of(parity))
    assert json.loads((parity / "tokenizer" / "vocab.json").read_text("utf-8")) == ids
    assert (parity / "tokenizer" / "merges.txt").read_text("utf-8").splitlines() == merges
    assert len(merges) < 2_000
