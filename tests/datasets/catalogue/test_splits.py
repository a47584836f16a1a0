"""Splits keep pictures apart, follow from the seed alone, and overlaps of given ones are told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cir_assets.datasets.catalogue import read_catalogue
from cir_assets.datasets.tables import BrokenAnnotations
from tests.datasets.catalogue.conftest import HEADER, details, pictures, read_text, table
from tests.datasets.conftest import subjects

LINKS = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)).filter(lambda p: p[0] != p[1]), min_size=3)


@settings(max_examples=60, deadline=None)
@given(links=LINKS, copied=st.sets(st.integers(0, 11), max_size=4), seed=st.integers(0, 3))
def test_no_picture_nor_its_copy_is_in_two_splits(
    links: list[tuple[int, int]], copied: set[int], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("catalogue")
    root = pictures(folder / "pictures", *(f"{number}.png" for number in range(12)))
    for number in copied:
        shutil.copyfile(root / f"{number}.png", root / f"{(number + 1) % 12}.png")
    rows = [f"{one}.png,{other}.png,is different" for one, other in links]
    file = table(folder, "reference,target,caption", *rows)
    try:
        read = read_catalogue(root, file, val_share=0.3, test_share=0.3, seed=seed)
    except BrokenAnnotations as error:
        assert "hang together" in str(error)  # noqa: PT017 - some draws cannot be split, which is the rule
        return
    assert read.triplets.height == len(links)
    assert set(read.triplets["split"]) == {"train", "val", "test"}
    places: dict[bytes, set[str]] = {}
    for split, image in read.galleries.select("split", "image").iter_rows():
        places.setdefault((root / image).read_bytes(), set()).add(split)
    assert all(len(splits) == 1 for splits in places.values())
    assert set(read.galleries["image"]) == {f"{number}.png" for number in range(12)}


def test_splits_depend_on_the_seed_alone(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", *(f"{n:02}.png" for n in range(60)))
    rows = [f"{n:02}.png,{n + 1:02}.png,is different" for n in range(0, 60, 2)]
    file = table(tmp_path, "reference,target,caption", *rows)
    first, again, other = (
        read_catalogue(root, file, seed=seed).triplets["split"].to_list() for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert (first.count("val"), first.count("test")) == (4, 4)


def test_triplets_that_hang_together_cannot_be_split(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "a.png", "b.png", "c.png")
    file = table(tmp_path, "reference,target,caption", "a.png,b.png,bluer", "b.png,c.png,redder")
    with pytest.raises(BrokenAnnotations, match=r"its 2 triplets hang together in 1 group\(s\)"):
        read_catalogue(root, file)
    read = read_catalogue(root, file, val_share=0, test_share=0)
    assert set(read.triplets["split"]) == {"train"}


def test_overlaps_of_given_splits_are_reported(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "a.png", "b.png", "c.png")
    file = table(
        tmp_path, "reference,target,caption,split", "a.png,b.png,bluer,train", "b.png,c.png,redder,val"
    )
    assert subjects(read_catalogue(root, file), "cross_split_leakage") == ["b.png"]


@pytest.mark.parametrize(("word", "split"), [("Validation", "val"), ("dev", "val"), ("TEST", "test")])
def test_splits_in_other_words_are_told(root: Path, word: str, split: str) -> None:
    read = read_text(root, HEADER, f"p0,p1,is red,{word}")
    assert read.triplets["split"].to_list() == [split]
    assert details(read, "assumed") == ([] if word == "TEST" else [f"split {word} is read as {split}"])
