"""FashionIQ's real annotations, with every quirk and its rule; and files that are broken."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl
import pytest

from cir_assets.datasets.captions import evaluation_caption
from cir_assets.datasets.fashioniq import read_fashioniq
from cir_assets.datasets.fashioniq_fetching import CATEGORIES
from cir_assets.datasets.tables import Annotations, BrokenAnnotations
from tests.datasets.conftest import counts, subjects, triplet, write_fashioniq, write_json, write_picture

TRIPLETS = {
    ("train", "dress"): 5_985,
    ("train", "shirt"): 5_988,
    ("train", "toptee"): 6_027,
    ("val", "dress"): 2_017,
    ("val", "shirt"): 2_038,
    ("val", "toptee"): 1_961,
    ("test", "dress"): 2_024,
    ("test", "shirt"): 2_038,
    ("test", "toptee"): 2_056,
}
GALLERIES = {
    ("train", "dress"): 11_452,
    ("train", "shirt"): 19_036,
    ("train", "toptee"): 16_121,
    ("val", "dress"): 3_817,
    ("val", "shirt"): 6_346,
    ("val", "toptee"): 5_373,
    ("test", "dress"): 3_818,
    ("test", "shirt"): 6_346,
    ("test", "toptee"): 5_374,
}
VAL_SPLIT = {"dress": 2_628, "shirt": 3_089, "toptee": 2_902}


def test_the_real_files_give_every_triplet_and_gallery(fashioniq: Annotations) -> None:
    assert counts(fashioniq.triplets) == TRIPLETS
    assert counts(fashioniq.galleries) == GALLERIES
    assert fashioniq.pictures.height == 74_381


@pytest.mark.parametrize("category", CATEGORIES)
def test_references_and_targets_of_val_are_the_val_split_gallery(
    fashioniq: Annotations, category: str
) -> None:
    val = fashioniq.triplets.filter(pl.col("split") == "val", pl.col("category") == category)
    assert val["target"].n_unique() == val.height
    assert pl.concat([val["reference"], val["target"]]).n_unique() == VAL_SPLIT[category]


def test_rows_and_galleries_keep_the_order_of_their_files(
    fashioniq: Annotations, fashioniq_folder: Path
) -> None:
    gallery = fashioniq.galleries.filter(pl.col("split") == "val", pl.col("category") == "toptee")
    listed = json.loads((fashioniq_folder / "image_splits" / "split.toptee.val.json").read_text())
    assert gallery["image"].to_list() == listed
    assert gallery["position"].to_list() == list(range(5_373))
    rows = json.loads((fashioniq_folder / "captions" / "cap.toptee.val.json").read_text())
    read = fashioniq.triplets.filter(pl.col("split") == "val", pl.col("category") == "toptee")
    assert read["captions"].to_list() == [row["captions"] for row in rows]
    assert read["reference"].to_list() == [row["candidate"] for row in rows]
    assert read["triplet_id"][17] == "toptee-val-17"


def test_targets_of_test_are_secret(fashioniq: Annotations) -> None:
    nulls = fashioniq.triplets.group_by("split").agg(pl.col("target").null_count())
    assert dict(nulls.rows()) == {"train": 0, "val": 0, "test": 6_118}


def test_ids_of_digits_alone_stay_text(fashioniq: Annotations) -> None:
    shirts = fashioniq.galleries.filter(pl.col("category") == "shirt")["image"].unique()
    assert shirts.str.contains(r"^\d+$").sum() == 14
    assert (~shirts.str.starts_with("B0")).sum() == 17
    assert set(shirts.str.len_chars()) == {10}


def test_empty_captions_are_kept_and_reported(fashioniq: Annotations) -> None:
    reported = subjects(fashioniq, "empty_caption")
    assert len(reported) == 16
    by_file = pl.Series(reported).str.extract(r"/(\w+-\w+)-").value_counts().rows()
    assert dict(by_file) == {"toptee-train": 12, "shirt-val": 1, "toptee-val": 2, "shirt-test": 1}
    row = fashioniq.triplets.filter(pl.col("target") == "B005XKO35U", pl.col("split") == "val")
    assert evaluation_caption(row["captions"][0].to_list()).startswith(" and ")


def test_captions_that_say_nothing_are_kept_and_reported(fashioniq: Annotations) -> None:
    placeholders = fashioniq.issues.filter(pl.col("kind") == "placeholder_caption")
    said = placeholders["detail"].str.extract(r"is '(.*)'; kept").str.to_lowercase().value_counts()
    assert dict(said.rows()) == {"na": 15, "n/a": 10, "none": 16, ".": 1, "2": 4, "3": 1, "4": 1}


def test_captions_that_say_nothing_can_be_left_out_of_training_alone(fashioniq_folder: Path) -> None:
    read = read_fashioniq(fashioniq_folder, leave_out_placeholder_captions=True)
    lengths = read.triplets.group_by("split").agg(
        one=(pl.col("captions").list.len() == 1).sum(), two=(pl.col("captions").list.len() == 2).sum()
    )
    found = {split: (one, two) for split, one, two in lengths.rows()}
    reported = fashioniq_train_placeholders(read)
    assert found["val"] == (0, 6_016)
    assert found["test"] == (0, 6_118)
    assert 0 < found["train"][0] <= len(reported)
    assert sum(found["train"]) == 18_000


def fashioniq_train_placeholders(read: Annotations) -> list[str]:
    told = subjects(read, "placeholder_caption") + subjects(read, "empty_caption")
    return [subject for subject in told if subject.startswith("train/")]


def test_pictures_in_train_and_in_an_evaluated_list_are_reported(fashioniq: Annotations) -> None:
    leaks = fashioniq.issues.filter(pl.col("kind") == "cross_split_leakage")
    in_val = leaks.filter(pl.col("detail").str.contains("val of"))
    assert in_val.filter(pl.col("detail") == "in train of shirt, in val of toptee").height == 392
    assert in_val.height == 811
    assert leaks.height == 811 + 393 + 410
    assert not leaks["detail"].str.contains("dress").any()
    assert len(subjects(fashioniq, "val_test_overlap")) == 135 + 131


def test_leaked_pictures_can_be_left_out_of_train(fashioniq: Annotations, fashioniq_folder: Path) -> None:
    clean = read_fashioniq(fashioniq_folder, leave_out_leaked_train_pictures=True)
    train = clean.galleries.filter(pl.col("split") == "train")
    evaluated = clean.galleries.filter(pl.col("split") != "train")
    assert not set(train["image"]) & set(evaluated["image"])
    used = clean.triplets.filter(pl.col("split") == "train")
    assert not (set(used["reference"]) | set(used["target"])) & set(evaluated["image"])
    fallen = len(subjects(clean, "leaked_train_triplet"))
    assert used.height + fallen == 18_000
    assert fallen >= 72 + 71
    assert evaluated.equals(fashioniq.galleries.filter(pl.col("split") != "train"))
    positions = train.filter(pl.col("category") == "shirt")["position"]
    assert positions.to_list() == list(range(positions.len()))


def test_a_picture_may_be_jpg_or_png_and_jpg_goes_first(tmp_path: Path) -> None:
    write_fashioniq(tmp_path, "hat", "val", ["A", "B", "C", "D"], [triplet("A", "B")])
    for name in ("A.png", "A.jpg", "B.PNG", "C.jpeg", "E.gif"):
        write_picture(tmp_path / "pictures" / "x.png").rename(tmp_path / name)
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "images" / name)
    read = read_fashioniq(tmp_path)
    assert dict(read.pictures.rows()) == {"A": "A.jpg", "B": "B.PNG", "C": "C.jpeg", "D": "D.jpg"}


def test_a_split_without_captions_is_a_gallery_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "image_splits" / "split.hat.test.json", ["A", "B"])
    read = read_fashioniq(tmp_path)
    assert read.galleries["image"].to_list() == ["A", "B"]
    assert read.triplets.is_empty()


def test_image_sets_are_read_beside_their_triplets(tmp_path: Path) -> None:
    rows = [triplet("A", "B"), triplet("B", "C")]
    write_fashioniq(tmp_path, "hat", "val", ["A", "B", "C"], rows)
    sets = [{"set_id": "s1", "members": ["B", "A"]}, {"set_id": "s2", "members": ["A", "B", "C"]}]
    write_json(tmp_path / "image_sets.json", {"val": {"hat": sets}})
    read = read_fashioniq(tmp_path)
    assert read.triplets["set_id"].to_list() == ["s1", "s2"]
    assert read.triplets["set_members"].to_list() == [["B", "A"], ["A", "B", "C"]]
    write_json(tmp_path / "image_sets.json", {"val": {"hat": sets[:1]}})
    with pytest.raises(BrokenAnnotations, match=r"has 2 triplets, but image_sets\.json has 1 sets"):
        read_fashioniq(tmp_path)


def test_a_triplet_outside_its_split_list_is_dropped_and_told(tmp_path: Path) -> None:
    write_fashioniq(tmp_path, "hat", "val", ["A", "B"], [triplet("A", "B"), triplet("A", "Z")])
    read = read_fashioniq(tmp_path)
    assert read.triplets["target"].to_list() == ["B"]
    assert subjects(read, "unknown_picture") == ["val/hat-val-1"]


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    write_fashioniq(tmp_path, "hat", "val", ["A", "B"], [triplet("X", "Y"), triplet("Y", "X")])
    with pytest.raises(BrokenAnnotations, match=r"cap\.hat\.val\.json: none of its 2 triplets"):
        read_fashioniq(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (triplet("A", "B", ["one"]), "entry 1: expected two captions, found 1"),
        (triplet("A", "B", ["one", "two", "three"]), "entry 1: expected two captions, found 3"),
        ({"candidate": "A", "target": "B", "captions": "red"}, "entry 1: expected a list of two texts"),
        ({"candidate": "A", "target": "B"}, "entry 1: expected a list of two texts"),
        ({"candidate": "A", "captions": ["a", "b"]}, "entry 1: expected a picture's id under 'target'"),
        ({"target": "A", "captions": ["a", "b"]}, "entry 1: expected a picture's id under 'candidate'"),
        (triplet("../A", "B"), "entry 1, 'candidate': '../A' holds a path"),
        ({"candidate": 17, "target": "B", "captions": ["a", "b"]}, "'candidate': expected .* text, found 17"),
    ],
)
def test_a_broken_entry_is_told_by_file_and_entry(tmp_path: Path, row: object, message: str) -> None:
    write_fashioniq(tmp_path, "hat", "val", ["A", "B"], [triplet("A", "B"), row])
    with pytest.raises(BrokenAnnotations, match=rf"cap\.hat\.val\.json, .*{message}|{message}"):
        read_fashioniq(tmp_path)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["A", "B", "A"], "'A' stands in the list twice"),
        (["A", "images/B"], "entry 1: 'images/B' holds a path"),
        (["A", 1234567890], "entry 1: expected a picture's id as text"),
    ],
)
def test_a_broken_split_list_is_told_by_file_and_entry(
    tmp_path: Path, images: list[object], message: str
) -> None:
    write_fashioniq(tmp_path, "hat", "val", images, [])
    with pytest.raises(BrokenAnnotations, match=rf"split\.hat\.val\.json.*{message}"):
        read_fashioniq(tmp_path)


def test_captions_without_their_gallery_are_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "captions" / "cap.hat.val.json", [])
    with pytest.raises(BrokenAnnotations, match=r"has no image_splits/split\.hat\.val\.json beside it"):
        read_fashioniq(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenAnnotations, match="is not in FashionIQ's layout"):
        read_fashioniq(tmp_path)
    write_json(tmp_path / "image_splits" / "split.hat.dev.json", [])
    with pytest.raises(BrokenAnnotations, match=r"expected the name split\.<category>\.<train\|val\|test>"):
        read_fashioniq(tmp_path)


STRANGERS = (
    "captions/cap.dress.train.extend_clip.json",
    "captions/cap.dress.val.json.bak",
    "captions/._cap.dress.val.json",
    "captions/cap.dress_extended.val.json",
    "captions/README.md",
    "image_splits/split.dress.val_clean.json",
    "image_splits/split.dress.val.clean.json",
    "image_splits/.DS_Store",
)


def test_other_people_s_files_beside_the_originals_are_passed_over_and_told(tmp_path: Path) -> None:
    write_fashioniq(tmp_path, "dress", "val", ["A", "B"], [triplet("A", "B")])
    alone = read_fashioniq(tmp_path)
    for name in STRANGERS:
        (tmp_path / name).write_text("{")
    beside = read_fashioniq(tmp_path)
    assert beside.triplets.equals(alone.triplets)
    assert beside.galleries.equals(alone.galleries)
    assert sorted(subjects(beside, "unknown_file")) == sorted(STRANGERS)


def test_a_file_whose_name_is_no_utf8_is_told(tmp_path: Path) -> None:
    write_fashioniq(tmp_path, "dress", "val", ["A", "B"], [triplet("A", "B")])
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/image_splits/split.caf\xe9.val.json")).write_text("[]")
    assert subjects(read_fashioniq(tmp_path), "unknown_file") == ["image_splits/split.caf\\xe9.val.json"]


def test_the_published_files_alone_are_no_strangers(fashioniq: Annotations) -> None:
    assert subjects(fashioniq, "unknown_file") == []


def test_captions_of_a_category_that_has_other_galleries_are_refused_without_theirs(tmp_path: Path) -> None:
    write_fashioniq(tmp_path, "hat", "val", ["A", "B"], [triplet("A", "B")])
    write_json(tmp_path / "captions" / "cap.hat.train.json", [])
    with pytest.raises(BrokenAnnotations, match=r"has no image_splits/split\.hat\.train\.json beside it"):
        read_fashioniq(tmp_path)


def test_captions_that_are_a_link_to_nowhere_are_refused(tmp_path: Path) -> None:
    write_fashioniq(tmp_path, "hat", "val", ["A", "B"], [])
    (tmp_path / "captions" / "cap.hat.val.json").unlink()
    (tmp_path / "captions" / "cap.hat.val.json").symlink_to(tmp_path / "absent")
    with pytest.raises(BrokenAnnotations, match=r"cap\.hat\.val\.json cannot be read"):
        read_fashioniq(tmp_path)


def test_pictures_in_folders_below_are_found(tmp_path: Path) -> None:
    write_fashioniq(tmp_path, "hat", "val", ["A", "B"], [triplet("A", "B")])
    write_picture(tmp_path / "images" / "hats" / "A.jpg")
    assert dict(read_fashioniq(tmp_path).pictures.rows()) == {"A": "hats/A.jpg", "B": "B.jpg"}
