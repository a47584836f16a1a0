"""Equal content has one name, and any other content another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cir_assets.store.digests import DIGEST_LENGTH, digest, digest_array, digest_file, digest_frame


def test_a_json_value_counts_without_the_order_of_its_keys() -> None:
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})
    assert len({digest(value) for value in ([2, 3], [3, 2], {"a": 1}, {"a": "1"}, {"ä": 1})}) == 5
    assert len(digest(None)) == DIGEST_LENGTH


@pytest.mark.parametrize("value", [{1, 2}, object(), Path("x")])
def test_what_is_no_json_value_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        digest(value)


def test_an_array_counts_with_its_type_and_shape_and_without_its_layout() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert digest_array(array) == digest_array(np.asfortranarray(array))
    others = (array.reshape(3, 2), array.astype(np.float64), array + 1)
    assert len({digest_array(each) for each in (array, *others)}) == 4


def test_a_file_counts_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    for name, content in (("a", b"same"), ("b", b"same"), ("c", b"other")):
        (tmp_path / name).write_bytes(content)
    first, second, third = (digest_file(tmp_path / name) for name in "abc")
    assert first == second != third


def test_a_frame_counts_with_names_types_and_order_and_without_its_chunks() -> None:
    frame = pl.DataFrame({"image": ["a", "b"], "rank": [1, 2]})
    assert digest_frame(frame) == digest_frame(pl.concat([frame[:1], frame[1:]], rechunk=False))
    others = (frame[::-1], frame.rename({"rank": "place"}), frame.cast({"rank": pl.Int32}))
    assert len({digest_frame(each) for each in (frame, *others)}) == 4
