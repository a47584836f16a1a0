"""CIRR's real annotations, and files that are broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cir_assets.datasets.cirr import read_cirr
from cir_assets.datasets.tables import Annotations, BrokenAnnotations
from cir_assets.pictures.scanning import scan_pictures
from tests.datasets.conftest import counts, subjects, write_json, write_picture


@pytest.fixture(scope="module")
def cirr(real_data: Path) -> Annotations:
    train = real_data / "cirr-train" / "keywords_in_mods_cirr_train.json"
    return read_cirr(real_data / "cirr", train_captions=train)


def test_the_real_files_give_every_triplet_and_gallery(cirr: Annotations) -> None:
    assert counts(cirr.triplets) == {("train", "all"): 28_225, ("val", "all"): 4_181, ("test", "all"): 4_148}
    assert counts(cirr.galleries) == {("train", "all"): 16_939, ("val", "all"): 2_297, ("test", "all"): 2_315}
    assert cirr.pictures.height == 21_551
    uses = {split: table for (split,), table in cirr.triplets.partition_by("split", as_dict=True).items()}
    assert uses["train"]["reference"].n_unique() == 16_080
    assert uses["train"]["target"].n_unique() == 16_353
    assert uses["val"]["reference"].n_unique() == 2_165
    assert uses["val"]["target"].n_unique() == 2_206
    assert uses["test"]["reference"].n_unique() == 2_178
    assert uses["test"]["target"].null_count() == 4_148


def test_pictures_lie_where_the_split_files_say(cirr: Annotations) -> None:
    paths = dict(cirr.pictures.rows())
    assert paths["train-11041-2-img0"] == "train/34/train-11041-2-img0.png"
    folders = pl.Series(list(paths.values())).str.extract(r"^(\w+)/").value_counts()
    assert dict(folders.rows()) == {"train": 16_939, "dev": 2_297, "test1": 2_315}


def test_image_sets_hold_six_with_the_reference_and_the_target(cirr: Annotations) -> None:
    evaluated = cirr.triplets.filter(pl.col("split") != "train")
    assert set(evaluated["set_members"].list.len()) == {6}
    assert evaluated["set_members"].list.n_unique().min() == 6
    assert evaluated.select(pl.col("set_members").list.contains(pl.col("reference")).all()).item()
    val = evaluated.filter(pl.col("split") == "val")
    assert val.select(pl.col("set_members").list.contains(pl.col("target")).all()).item()
    assert dict(evaluated.group_by("split").agg(pl.col("set_id").n_unique()).rows()) == {
        "val": 503,
        "test": 503,
    }
    assert cirr.triplets.filter(pl.col("split") == "train")["set_members"].null_count() == 28_225


def test_a_triplet_goes_by_its_pair_id_and_its_hard_target(cirr: Annotations, real_data: Path) -> None:
    rows = json.loads((real_data / "cirr" / "captions" / "cap.rc2.val.json").read_text())
    val = cirr.triplets.filter(pl.col("split") == "val")
    assert val["triplet_id"].to_list() == [str(row["pairid"]) for row in rows]
    assert val["target"].to_list() == [row["target_hard"] for row in rows]
    assert val["captions"].to_list() == [[row["caption"]] for row in rows]


def test_the_one_empty_caption_is_kept_and_reported(cirr: Annotations) -> None:
    assert subjects(cirr, "empty_caption") == ["test/27098"]
    assert cirr.triplets.filter(pl.col("triplet_id") == "27098")["captions"].to_list() == [[" "]]


def test_train_captions_leave_a_language_model_s_keywords_aside(cirr: Annotations) -> None:
    train = cirr.triplets.filter(pl.col("split") == "train")
    assert train["captions"].list.len().max() == 1
    first = train.row(0, named=True)
    assert first["captions"] == ["Table and chairs turn to more dark color and has a gray carpet"]
    assert (first["reference"], first["target"]) == ("train-11041-2-img0", "train-11041-0-img1")


def test_without_train_captions_train_is_a_gallery_alone(real_data: Path) -> None:
    read = read_cirr(real_data / "cirr")
    assert subjects(read, "missing_captions") == ["train"]
    assert counts(read.triplets) == {("val", "all"): 4_181, ("test", "all"): 4_148}
    assert counts(read.galleries)[("train", "all")] == 16_939


ENTRY: dict[str, Any] = {
    "pairid": 7,
    "reference": "dev-1-0-img0",
    "target_hard": "dev-2-0-img0",
    "target_soft": {"dev-3-0-img0": 1.0},
    "caption": "two dogs",
    "img_set": {
        "id": 3,
        "members": ["dev-3-0-img0", "dev-2-0-img0", "dev-1-0-img0"],
        "reference_rank": 0,
        "target_rank": 0,
    },
}
NAMES = ("dev-1-0-img0", "dev-2-0-img0", "dev-3-0-img0")


def write_cirr(folder: Path, entries: Any, split: dict[str, Any] | None = None) -> Path:
    write_json(folder / "captions" / "cap.rc2.val.json", entries)
    write_json(
        folder / "image_splits" / "split.rc2.val.json", split or {name: f"./dev/{name}.png" for name in NAMES}
    )
    return folder


def test_official_train_captions_keep_their_image_sets(tmp_path: Path) -> None:
    write_json(tmp_path / "captions" / "cap.rc2.train.json", [ENTRY])
    write_json(tmp_path / "image_splits" / "split.rc2.train.json", {n: f"./train/0/{n}.png" for n in NAMES})
    row = read_cirr(tmp_path).triplets.row(0, named=True)
    assert (row["split"], row["triplet_id"], row["set_id"]) == ("train", "7", "3")
    assert row["set_members"] == ENTRY["img_set"]["members"]


def test_pictures_and_annotations_are_found_in_the_layouts_people_have(tmp_path: Path) -> None:
    write_cirr(tmp_path / "flat", [ENTRY])
    write_picture(tmp_path / "flat" / "img_raw" / "dev" / "dev-1-0-img0.png")
    assert read_cirr(tmp_path / "flat").picture_root == tmp_path / "flat" / "img_raw"
    write_cirr(tmp_path / "nested" / "cirr", [ENTRY])
    assert read_cirr(tmp_path / "nested").picture_root == tmp_path / "nested"
    assert read_cirr(tmp_path / "flat", pictures=tmp_path).picture_root == tmp_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairid": "7"}, "expected a whole number under 'pairid', found '7'"),
        ({"caption": None}, "expected a text under 'caption'"),
        ({"reference": "../x"}, "'reference': '../x' holds a path"),
        ({"img_set": None}, "expected an object under 'img_set'"),
        ({"img_set": {"id": 3, "members": []}}, "expected a list of names under 'members'"),
        ({"img_set": {"id": 3, "members": ["dev-3-0-img0"]}}, "the reference dev-1-0-img0 is not among"),
    ],
)
def test_a_broken_entry_is_told_by_file_and_entry(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    write_cirr(tmp_path, [ENTRY, {**ENTRY, "pairid": 8, **change}])
    with pytest.raises(BrokenAnnotations, match=rf"cap\.rc2\.val\.json, entry 1.*{message}"):
        read_cirr(tmp_path)


def test_val_must_have_targets(tmp_path: Path) -> None:
    write_cirr(tmp_path, [{key: value for key, value in ENTRY.items() if key != "target_hard"}])
    with pytest.raises(BrokenAnnotations, match="entry 0: expected a picture's id under 'target_hard'"):
        read_cirr(tmp_path)


@pytest.mark.parametrize("path", ["/etc/dev-1-0-img0.png", "../dev/dev-1-0-img0.png", "./dev/other.png", 3])
def test_a_split_path_that_leads_elsewhere_is_refused(tmp_path: Path, path: object) -> None:
    write_cirr(tmp_path, [], {"dev-1-0-img0": path})
    with pytest.raises(BrokenAnnotations, match=r"split\.rc2\.val\.json, 'dev-1-0-img0': expected a path"):
        read_cirr(tmp_path)


def test_the_same_pair_twice_is_refused(tmp_path: Path) -> None:
    write_cirr(tmp_path, [ENTRY, ENTRY])
    with pytest.raises(BrokenAnnotations, match="pairid 7 stands there twice"):
        read_cirr(tmp_path)


def test_a_triplet_outside_its_split_is_dropped_and_a_file_of_them_refused(tmp_path: Path) -> None:
    names = ("dev-1-0-img0", "dev-9-0-img0")
    stranger = {
        **ENTRY,
        "pairid": 8,
        "target_hard": names[1],
        "img_set": {**ENTRY["img_set"], "members": list(names)},
    }
    write_cirr(tmp_path, [ENTRY, stranger])
    read = read_cirr(tmp_path)
    assert subjects(read, "unknown_picture") == ["val/8"]
    assert read.triplets["triplet_id"].to_list() == ["7"]
    write_cirr(tmp_path, [stranger])
    with pytest.raises(BrokenAnnotations, match="none of its 1 triplets"):
        read_cirr(tmp_path)


def test_a_named_train_file_that_is_not_there_is_refused(real_data: Path, tmp_path: Path) -> None:
    with pytest.raises(BrokenAnnotations, match=r"source\.train_captions"):
        read_cirr(real_data / "cirr", train_captions=tmp_path / "absent.json")


def test_a_train_key_without_its_plus_is_refused(tmp_path: Path) -> None:
    write_cirr(tmp_path, [ENTRY])
    write_json(tmp_path / "image_splits" / "split.rc2.train.json", {"a": "./train/0/a.png"})
    file = write_json(tmp_path / "train.json", {"a-b": ["caption", "keywords"]})
    with pytest.raises(BrokenAnnotations, match=r"train\.json, 'a-b': expected"):
        read_cirr(tmp_path, train_captions=file)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenAnnotations, match="expected captions/ and image_splits/ of CIRR there"):
        read_cirr(tmp_path)


@pytest.mark.parametrize(
    ("folder", "ending"), [("train", ".png"), ("images/train", ".png"), ("train/34", ".jpg"), ("x", ".jpeg")]
)
def test_pictures_in_nlvr2_s_own_folders_are_found_by_name(
    real_data: Path, tmp_path: Path, folder: str, ending: str
) -> None:
    names = ["train-11041-2-img0", "train-11041-0-img1"]
    for name in names:
        write_picture(tmp_path / "nlvr2" / folder / f"{name}{ending}")
    read = read_cirr(real_data / "cirr", pictures=tmp_path / "nlvr2")
    paths = dict(read.pictures.rows())
    assert [paths[name] for name in names] == [f"{folder}/{name}{ending}" for name in names]
    images, _, _ = scan_pictures(read.pictures, read.picture_root)
    assert set(images["image"]) == set(names)
