"""The wardrobe on disk: the same bytes everywhere, disjoint splits, hard galleries, and it can be broken off."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cir_assets.datasets.wardrobe.drawing import HEIGHT, WIDTH
from cir_assets.datasets.wardrobe.garments import CATEGORIES, CHOICES, differences, visible
from cir_assets.datasets.wardrobe.generation import (
    FAMILY,
    Wardrobe,
    plan_wardrobe,
    pretraining_pair,
    render_wardrobe,
)
from cir_assets.engines.progress import Progress, terminal_progress

SIZE, SEED = 1_000, 7
GOLDEN_PICTURES = 48

GOLDEN = {
    "pictures": "bc99fc6d33bdc78a15cf4aea71ceb5d2ef16cd3098051bb2d0d37c7647783d9a",
    "annotations": "149ea275f5d5e90d5f851d9b547fbaf57bdd02b635cc641eb91cb29beef9e709",
    "attributes": "d2d598539783dc933f38035ab1776d5b6530e211978500cae52a9c64eb4c427b",
}
"""What size 1,000 and seed 7 give; another value means another wardrobe: then ``GENERATION`` counts up."""

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def wardrobe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wardrobe")
    render_wardrobe(folder, SIZE, SEED, workers=2)
    return folder


@pytest.fixture(scope="module")
def plan() -> Wardrobe:
    return plan_wardrobe(6_000, SEED)


def read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def gallery(folder: Path, category: str, split: str) -> list[str]:
    return list(read(folder / "image_splits" / f"split.{category}.{split}.json"))


def triplets(folder: Path, category: str, split: str) -> list[dict[str, Any]]:
    return list(read(folder / "captions" / f"cap.{category}.{split}.json"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def digest(parts: Sequence[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


def test_size_and_seed_give_the_same_bytes_everywhere(wardrobe: Path) -> None:
    pictures = sorted((wardrobe / "images").iterdir())[:: SIZE // GOLDEN_PICTURES]
    annotations = [*sorted(wardrobe.glob("*/*.json")), wardrobe / "image_sets.json"]
    # Parquet's bytes are its writer's; what it says is ours.
    rows = pl.read_parquet(wardrobe / "attributes.parquet").rows()
    found = {
        "pictures": digest([file.read_bytes() for file in pictures]),
        "annotations": digest([file.read_bytes() for file in annotations]),
        "attributes": digest([repr(row).encode() for row in rows]),
    }
    assert found == GOLDEN


def test_another_seed_gives_another_wardrobe() -> None:
    first, second = plan_wardrobe(SIZE, 7), plan_wardrobe(SIZE, 8)
    assert {p.image for p in first.pictures}.isdisjoint(p.image for p in second.pictures)
    assert [p.garment for p in first.pictures] != [p.garment for p in second.pictures]


def test_it_is_laid_out_as_fashioniq(wardrobe: Path) -> None:
    for category in CATEGORIES:
        for split in SPLITS:
            text = (wardrobe / "captions" / f"cap.{category}.{split}.json").read_text(encoding="utf-8")
            assert text.startswith('[\n    {\n        "target": ')
            for triplet in triplets(wardrobe, category, split):
                assert list(triplet) == ["target", "candidate", "captions"]
                assert len(triplet["captions"]) == 2
                assert all(caption == caption.strip() != "" for caption in triplet["captions"])
    names = [image for c in CATEGORIES for s in SPLITS for image in gallery(wardrobe, c, s)]
    assert len(names) == len(set(names)) == SIZE
    assert all(len(name) == 10 and name.isalnum() and name.isupper() for name in names)
    assert {f"{name}.png" for name in names} == {file.name for file in (wardrobe / "images").iterdir()}


def test_pictures_are_rgb_and_tall_enough_for_target_padding(wardrobe: Path) -> None:
    for file in sorted((wardrobe / "images").iterdir())[:20]:
        with Image.open(file) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (WIDTH, HEIGHT))
    assert HEIGHT / WIDTH > 1.25


def test_no_two_pictures_have_the_same_pixels(wardrobe: Path) -> None:
    seen = set()
    for file in (wardrobe / "images").iterdir():
        with Image.open(file) as picture:
            seen.add(hashlib.sha256(picture.tobytes()).digest())
    assert len(seen) == SIZE


def test_pretraining_pictures_are_in_no_wardrobe(wardrobe: Path) -> None:
    rendered = set()
    for file in (wardrobe / "images").iterdir():
        with Image.open(file) as picture:
            rendered.add(hashlib.sha256(picture.tobytes()).digest())
    pairs = [pretraining_pair(SEED, index) for index in range(300)]
    digests = {hashlib.sha256(pixels.tobytes()).digest() for pixels, _ in pairs}
    assert len(digests) == 300
    assert rendered.isdisjoint(digests)


def test_a_pretraining_pair_depends_on_seed_and_place_alone() -> None:
    pixels, description = pretraining_pair(3, 41)
    again, described = pretraining_pair(3, 41)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, again)
    assert description == described
    assert not np.array_equal(pixels, pretraining_pair(4, 41)[0])


def test_the_default_size_gives_galleries_of_1500_and_1500_queries_a_split() -> None:
    plan = plan_wardrobe(15_000, SEED)
    for split in ("val", "test"):
        for category in CATEGORIES:
            assert sum((p.split, p.category) == (split, category) for p in plan.pictures) == 1_500
            assert len(plan.queries[split, category]) == 500
    assert sum(len(plan.queries["train", category]) for category in CATEGORIES) == 6_000
    assert len(plan.pictures) == 15_000


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 700), seed=st.integers(0, 5))
def test_any_size_is_met_exactly(size: int, seed: int) -> None:
    assert len({picture.image for picture in plan_wardrobe(size, seed).pictures}) == size


def test_each_target_occurs_once_and_is_not_its_reference(plan: Wardrobe) -> None:
    garments = {picture.image: picture for picture in plan.pictures}
    for (split, category), queries in plan.queries.items():
        targets = [query.target for query in queries]
        assert len(targets) == len(set(targets)) > 0
        for query in queries:
            for image in (query.reference, query.target):
                assert (garments[image].split, garments[image].category) == (split, category)
            apart = differences(garments[query.reference].garment, garments[query.target].garment)
            assert 1 <= len(apart) <= 3


def test_a_gallery_shows_each_garment_once_so_that_a_query_has_one_answer(plan: Wardrobe) -> None:
    seen: set[tuple[Any, ...]] = set()
    for picture in plan.pictures:
        key = (picture.split, picture.category, *visible(picture.garment))
        assert key not in seen
        seen.add(key)


def test_every_evaluated_target_has_distractors_one_attribute_off(plan: Wardrobe) -> None:
    garments = {picture.image: picture.garment for picture in plan.pictures}
    for split in ("val", "test"):
        for category in CATEGORIES:
            for query in plan.queries[split, category]:
                target = garments[query.target]
                off = [
                    image
                    for image in query.members
                    if image != query.target and len(differences(garments[image], target)) == 1
                ]
                assert len(off) >= 2
                assert set(off) - {query.reference}


def test_sets_of_six_hold_the_reference_and_the_target_in_triplet_order(wardrobe: Path) -> None:
    sets = read(wardrobe / "image_sets.json")
    assert sorted(sets) == ["test", "val"]
    for split, categories in sets.items():
        assert sorted(categories) == sorted(CATEGORIES)
        for category, entries in categories.items():
            held = set(gallery(wardrobe, category, split))
            rows = triplets(wardrobe, category, split)
            assert len(entries) == len(rows)
            for entry, row in zip(entries, rows, strict=True):
                assert (entry["reference"], entry["target"]) == (row["candidate"], row["target"])
                assert len(entry["members"]) == len(set(entry["members"])) == FAMILY
                assert {row["candidate"], row["target"]} <= set(entry["members"]) <= held


def test_a_member_s_place_in_its_set_tells_nothing_of_the_target(plan: Wardrobe) -> None:
    places = [
        query.members.index(query.target)
        for (split, _), queries in plan.queries.items()
        if split != "train"
        for query in queries
    ]
    share = np.bincount(places, minlength=FAMILY) / len(places)
    assert share.max() < 0.25


def test_attributes_are_a_table_of_every_picture(wardrobe: Path) -> None:
    attributes = pl.read_parquet(wardrobe / "attributes.parquet")
    assert attributes.columns == ["image", "split", "category", *CHOICES]
    assert attributes.height == attributes["image"].n_unique() == SIZE
    for split in SPLITS:
        for category in CATEGORIES:
            rows = attributes.filter((pl.col("split") == split) & (pl.col("category") == category))
            assert rows["image"].to_list() == gallery(wardrobe, category, split)
    for name, values in CHOICES.items():
        assert set(attributes[name]) == set(values)


class BrokenOff(Exception):
    """Stands for a kill in the middle."""


class BreaksOff(Progress):
    def advance(self, count: int = 1, note: str = "") -> None:
        super().advance(count, note)
        if self.done >= self.total // 3:
            raise BrokenOff


def test_a_rendering_that_was_broken_off_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    render_wardrobe(unbroken, 200, SEED, workers=1)
    with pytest.raises(BrokenOff):
        render_wardrobe(broken, 200, SEED, BreaksOff, workers=1)
    assert not read(broken / "plan.json")["complete"]
    before = {file.name: file.stat().st_mtime_ns for file in (broken / "images").iterdir()}
    assert 0 < len(before) < 200
    render_wardrobe(broken, 200, SEED, workers=1)
    assert contents(broken) == contents(unbroken)
    assert {name: (broken / "images" / name).stat().st_mtime_ns for name in before} == before


def test_pictures_do_not_depend_on_how_many_processes_draw(tmp_path: Path) -> None:
    render_wardrobe(tmp_path / "one", 200, SEED, workers=1)
    render_wardrobe(tmp_path / "two", 200, SEED, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_pictures_taken_away_come_back_and_a_whole_wardrobe_is_left_alone(wardrobe: Path) -> None:
    before = contents(wardrobe)
    taken = sorted((wardrobe / "images").iterdir())[3]
    kept = sorted((wardrobe / "images").iterdir())[4]
    stamp = kept.stat().st_mtime_ns
    taken.unlink()
    render_wardrobe(wardrobe, SIZE, SEED, workers=1)
    assert contents(wardrobe) == before

    def unexpected(description: str, total: int, unit: str) -> Progress:
        raise AssertionError("a whole wardrobe is not rendered again")

    render_wardrobe(wardrobe, SIZE, SEED, unexpected)
    assert kept.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(("size", "seed"), [(140, SEED), (200, SEED + 1)])
def test_another_size_or_seed_replaces_what_was_there(tmp_path: Path, size: int, seed: int) -> None:
    render_wardrobe(tmp_path / "changed", 200, SEED, workers=1)
    render_wardrobe(tmp_path / "changed", size, seed, workers=1)
    render_wardrobe(tmp_path / "new", size, seed, workers=1)
    assert contents(tmp_path / "changed") == contents(tmp_path / "new")


def test_a_folder_of_other_pictures_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    mine = tmp_path / "images" / "mine.png"
    mine.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"holds 1 files but .*plan\.json is not there"):
        render_wardrobe(tmp_path, SIZE, SEED)
    assert [entry.name for entry in tmp_path.iterdir()] == ["images"]
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize("size", [0, 59, 1_000_001])
def test_a_size_out_of_bounds_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(ValueError, match=r"has 60 to 1,000,000 pictures, not"):
        render_wardrobe(tmp_path, size, SEED, terminal_progress)
    assert list(tmp_path.iterdir()) == []
