"""Sets, categories and copies: what people mean by them, and nothing that grows with the square."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from cir_assets.datasets.catalogue import read_catalogue
from cir_assets.datasets.catalogue.galleries import MOST_PLACES, galleries_of
from cir_assets.datasets.catalogue.rows import LARGEST_SET, PLACED
from cir_assets.datasets.tables import BrokenAnnotations
from tests.datasets.catalogue.conftest import details, pictures, table, told


def season(count: int, name: str = "SS24") -> list[str]:
    rows = [f"{number}.png,{number + 1}.png,is red,val,{name}" for number in range(count)]
    return ["reference,target,caption,split,set", *rows]


def test_a_set_that_is_a_season_is_refused_with_the_mend(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", *(f"{number}.png" for number in range(LARGEST_SET + 1)))
    with pytest.raises(
        BrokenAnnotations, match=r"line 2: set 'SS24' holds 51 pictures; .* leave the column out"
    ):
        read_catalogue(root, table(tmp_path, *season(LARGEST_SET)))
    read = read_catalogue(root, table(tmp_path, *season(LARGEST_SET - 1)))
    assert read.triplets["set_members"].list.len().unique().to_list() == [LARGEST_SET]


def test_a_set_that_is_the_split_is_told_so(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", *(f"{number}.png" for number in range(LARGEST_SET + 1)))
    with pytest.raises(BrokenAnnotations, match=r"'train' holds 51 pictures; .* call the column split"):
        read_catalogue(root, table(tmp_path, *season(LARGEST_SET, "train")))


def test_a_hundred_thousand_members_of_one_set_are_refused(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", *(f"{number}.png" for number in range(60)))
    members = "|".join(f"{number % 60}.png" for number in range(100_000))
    file = tmp_path / "t.jsonl"
    file.write_text(f'{{"reference": "0", "target": "1", "caption": "is red", "members": "{members}"}}\n')
    with pytest.raises(BrokenAnnotations, match="line 1: set 'row-1' holds 60 pictures"):
        read_catalogue(root, file)


def placed(categories: int, pictures: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A query a category over pictures of which four in five are named by no row."""
    rows = pl.DataFrame(
        {
            "triplet_id": [f"row-{number}" for number in range(categories)],
            "line": range(categories),
            "split": ["val" if number % 2 else "test" for number in range(categories)],
            "category": [f"article {number}" for number in range(categories)],
            "reference": [str(2 * number) for number in range(categories)],
            "target": [str(2 * number + 1) for number in range(categories)],
            "captions": [["is red"]] * categories,
            "set_id": None,
            "set_members": None,
            "shared_concept": None,
            "reference_caption": None,
        },
        schema=PLACED,
    )
    names = [str(number) for number in range(pictures)]
    return rows, pl.DataFrame({"image": names, "key": [f"{number:064}" for number in range(pictures)]})


@pytest.mark.parametrize("categories", [200, 400, 800])
def test_a_category_that_is_an_article_number_costs_no_more_than_its_pictures(categories: int) -> None:
    rows, keys = placed(categories, 8 * categories)
    galleries = galleries_of(rows, keys)
    assert galleries.height == 8 * categories
    assert galleries["image"].n_unique() == galleries.height
    assert galleries.group_by("split", "category").len().height == categories


def test_few_categories_each_have_all_distractors(tmp_path: Path) -> None:
    rows, keys = placed(2 * MOST_PLACES, 400)
    galleries = galleries_of(rows, keys)
    in_each = galleries.group_by("split", "category").len()
    assert in_each["len"].min() == 2 + galleries.filter(split="val")["image"].n_unique() - 2 * MOST_PLACES
    assert galleries.equals(galleries_of(rows, keys.sample(fraction=1, shuffle=True, seed=1)))


def test_galleries_of_one_query_are_told(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", *(f"{number}.png" for number in range(2 * 52)))
    rows = [f"{2 * number},{2 * number + 1},is red,val,article {number}" for number in range(52)]
    read = read_catalogue(root, table(tmp_path, "reference,target,caption,split,category", *rows))
    assert [detail[:60] for detail in details(read, "lone_queries")] == [
        "52 of 52 categories have a single query (first: article 0); "
    ]
    assert [detail[:32] for detail in details(read, "many_categories")] == [
        "52 categories for 52 queries: pi"
    ]


def test_copies_that_stand_in_very_many_places_join_one_each() -> None:
    rows, keys = placed(3 * MOST_PLACES, 1_000)
    of_one_content = pl.col("image").cast(pl.Int64) % 2 == 0
    keys = keys.with_columns(
        pl.when(of_one_content).then(pl.lit("placeholder")).otherwise("key").alias("key")
    )
    galleries = galleries_of(rows, keys)
    assert galleries.height == 1_000
    assert galleries["image"].n_unique() == 1_000


def test_one_picture_under_many_names_is_told_once(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", *(f"{number:02}.png" for number in range(40)))
    for number in range(10, 40):
        shutil.copyfile(root / "09.png", root / f"{number:02}.png")
    for name in ("empty.png", "empty too.png"):
        (root / name).touch()
    rows = [f"{number:02},{number + 20},is red,val" for number in range(9)]
    read = read_catalogue(root, table(tmp_path, "reference,target,caption,split", *rows))
    assert details(read, "same_picture") == [
        "one picture stands under 31 names, 9 of them targets: 09.png, 10.png, 11.png, …"
    ]
    assert ("same_picture", "09.png") in told(read)
