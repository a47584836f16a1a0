"""One's own catalogue: tables in every form, splits that keep pictures apart, galleries, broken tables."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cir_assets.datasets.catalogue import read_catalogue
from cir_assets.datasets.tables import BrokenAnnotations
from cir_assets.pictures.scanning import scan_pictures
from tests.datasets.catalogue.conftest import details, gallery, pictures, table
from tests.datasets.conftest import counts, subjects


def test_a_real_catalogue_reads_whole(real_data: Path) -> None:
    folder = real_data / "nlvr-catalogue"
    read = read_catalogue(folder / "images", folder / "triplets.csv")
    assert read.pictures.height == 989
    assert counts(read.triplets) == {("train", "all"): 533, ("val", "all"): 164, ("test", "all"): 137}
    # Three pictures of this real set were saved twice.
    assert read.issues["kind"].to_list() == ["same_picture"] * 3
    assert read.triplets.select(pl.col("set_members").list.contains(pl.col("reference")).all()).item()
    assert read.triplets.select(pl.col("set_members").list.contains(pl.col("target")).all()).item()
    assert sum(counts(read.galleries).values()) == 989
    images, issues, _ = scan_pictures(read.pictures, read.picture_root)
    assert (images.height, issues.height) == (989, 0)


def test_real_photos_without_a_table_are_one_gallery(real_data: Path) -> None:
    read = read_catalogue(real_data / "clothing-photos" / "images", None)
    assert counts(read.galleries) == {("test", "all"): 90}
    assert read.triplets.is_empty()


def test_the_system_s_splits_keep_real_pictures_apart(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "nlvr-catalogue"
    without = pl.read_csv(folder / "triplets.csv").drop("split")
    without.write_csv(tmp_path / "table.csv")
    read = read_catalogue(folder / "images", tmp_path / "table.csv", seed=5)
    held = counts(read.triplets)
    assert sum(held.values()) == 834
    assert held["val", "all"] == pytest.approx(0.15 * 834, abs=6)
    assert held["test", "all"] == pytest.approx(0.15 * 834, abs=6)
    images, _, _ = scan_pictures(read.pictures, read.picture_root)
    placed = read.galleries.join(images, on="image").group_by("image_key").agg(pl.col("split").n_unique())
    assert placed["split"].max() == 1
    assert not subjects(read, "cross_split_leakage")


def test_galleries_hold_what_the_split_names_and_the_rest_is_searched_too(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "a.png", "b.png", "c.png", "d.png", "e.png", "unused.png")
    shutil.copyfile(root / "a.png", root / "copy-of-a.png")
    file = table(
        tmp_path,
        "reference,target,caption,split",
        "a.png,b.png,bluer,train",
        "c.png,d.png,redder,validation",
        "e.png,,,val",
    )
    read = read_catalogue(root, file)
    assert gallery(read, "train") == ["a.png", "b.png", "copy-of-a.png"]
    assert gallery(read, "val") == ["c.png", "d.png", "e.png", "unused.png"]
    assert read.triplets["triplet_id"].to_list() == ["row-1", "row-2"]


def test_categories_have_galleries_of_their_own(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "a.png", "b.png", "c.png", "d.png", "unused.png")
    file = table(
        tmp_path,
        "reference,target,caption,split,category",
        "a.png,b.png,bluer,val,hat",
        "c.png,d.png,redder,val,shoe",
    )
    read = read_catalogue(root, file)
    assert gallery(read, "val", "hat") == ["a.png", "b.png", "unused.png"]
    assert gallery(read, "val", "shoe") == ["c.png", "d.png", "unused.png"]


def test_pictures_lie_in_folders_and_may_be_named_without_their_ending(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "hats/red.png", "hats/blue.JPG", "shoes/red.png", ".hidden/x.png")
    (root / "notes.txt").write_text("no picture")
    file = table(
        tmp_path,
        "reference,target,caption,split",
        "hats/red,./hats/blue.JPG,bluer,val",
        "shoes\\red.png,hats/red,hat,val",
    )
    read = read_catalogue(root, file)
    assert read.pictures["image"].to_list() == ["hats/blue.JPG", "hats/red.png", "shoes/red.png"]
    assert read.triplets.select("reference", "target").rows() == [
        ("hats/red.png", "hats/blue.JPG"),
        ("shoes/red.png", "hats/red.png"),
    ]


def test_sets_are_listed_or_made_of_what_their_rows_name(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "a.png", "b.png", "c.png", "d e.png")
    file = table(
        tmp_path,
        "reference,target,caption,split,set,members",
        "a.png,b.png,bluer,val,s1,",
        "b.png,c.png,redder,val,s1,",
        "a.png,b.png,larger,val,s2,b.png c.png gone.png",
        "a.png,b.png,smaller,val,,d e.png|b.png|a.png",
        "a.png,b.png,rounder,val,,",
    )
    read = read_catalogue(root, file)
    assert read.triplets["set_members"].to_list() == [
        ["a.png", "b.png", "c.png"],
        ["a.png", "b.png", "c.png"],
        ["a.png", "b.png", "c.png"],
        ["d e.png", "b.png", "a.png"],
        None,
    ]
    assert read.triplets["set_id"].to_list() == ["s1", "s1", "s2", "row-4", None]
    assert subjects(read, "unknown_picture") == ["row-3"]


def test_csv_tsv_jsonl_and_parquet_say_the_same(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "a.png", "b.png", "c.png")
    rows: list[dict[str, Any]] = [
        {
            "reference": "a.png",
            "target": "b.png",
            "caption": "bluer, and round",
            "caption_2": "ombré",
            "split": "val",
        },
        {"reference": "b.png", "target": "c.png", "caption": 'says "hi"', "caption_2": None, "split": "val"},
    ]
    members = [["a.png", "b.png"], ["b.png", "c.png", "a.png"]]
    flat = pl.DataFrame(rows).with_columns(members=pl.Series([" ".join(names) for names in members]))
    flat.write_csv(tmp_path / "t.csv")
    flat.write_csv(tmp_path / "t.tsv", separator="\t")
    listed = [{**row, "members": names} for row, names in zip(rows, members, strict=True)]
    table(tmp_path, *(json.dumps(row) for row in listed), name="t.jsonl")
    pl.DataFrame(listed).write_parquet(tmp_path / "t.parquet")
    read = [read_catalogue(root, tmp_path / f"t.{ending}") for ending in ("csv", "tsv", "jsonl", "parquet")]
    assert read[0].triplets["captions"].to_list() == [["bluer, and round", "ombré"], ['says "hi"']]
    assert all(other.triplets.equals(read[0].triplets) for other in read)


def test_rows_that_cannot_be_used_are_dropped_and_told(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "a.png", "b.png")
    file = table(
        tmp_path,
        "reference,target,caption,split",
        "a.png,b.png,bluer,val",
        "a.png,gone.png,redder,val",
        "a.png,b.png, ,val",
        "a.png,a.png,the same,val",
        f"b.png,a.png,{'long ' * 2_000},val",
        "b.png,,what is it,test",
    )
    read = read_catalogue(root, file)
    assert dict(read.issues.select("subject", "kind").rows()) == {
        "row-2": "unknown_picture",
        "row-3": "empty_caption",
        "row-4": "reference_is_target",
        "val/row-5": "long_caption",
        "b.png": "val_test_overlap",
    }
    assert read.triplets["triplet_id"].to_list() == ["row-1", "row-5", "row-6"]
    assert read.triplets["target"].to_list() == ["b.png", "a.png", None]
    assert len(read.triplets["captions"][1][0]) == 9_999


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["reference,caption", "a.png,x"], r"no column target; found reference, caption, needed are"),
        (["reference.target.caption", "a.png.b.png.x"], r"no column .*parted by commas in a CSV"),
        (["reference,target,caption", "a.png,b.png"], r"line 2: expected 3 cells .*, found 2"),
        (["reference,target,caption", "a.png,b.png,blue, round"], r"line 2: .* found 4; .*double quotes"),
        (["reference,target,caption,split", "a.png,b.png,x,evaluation"], r"line 2: split is 'evaluation'"),
        (["reference,target,caption,split", "a.png,b.png,x,val", "a.png,b.png,x,"], r"line 3: either every"),
        (["reference,target,caption", "../a.png,b.png,x"], r"line 2: '\.\./a\.png' must be a path below"),
        (["reference,target,caption", "/etc/a.png,b.png,x"], r"line 2: '/etc/a\.png' must be a path below"),
        (["reference,target,caption", "C:\\a.png,b.png,x"], r"line 2: .* must be a path below"),
        (["reference,target,caption", ",b.png,x"], r"line 2: no picture under 'reference'"),
        (
            ["reference,target,caption", "x.png,y.png,x"],
            r"no row names pictures that are in .*line 2: no picture x\.png, no picture y\.png",
        ),
        (["reference,target,caption"], r"no row names pictures"),
        (["reference,target,caption,caption", "a.png,b.png,x,y"], r"column caption stands there twice"),
        (["reference,target,caption", '"a.png,b.png,x'], r"line \d: unexpected end of data"),
        ([], r"no column reference, target, caption; found nothing"),
    ],
)
def test_a_broken_csv_is_told_by_file_and_line(tmp_path: Path, lines: list[str], message: str) -> None:
    root = pictures(tmp_path / "p", "a.png", "b.png")
    with pytest.raises(BrokenAnnotations, match=rf"table\.csv.*{message}"):
        read_catalogue(root, table(tmp_path, *lines) if lines else _blank(tmp_path))


def _blank(folder: Path) -> Path:
    (folder / "table.csv").write_bytes(b"")
    return folder / "table.csv"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"reference": "a.png", ', "line 2: column 23: no valid JSON, .*; row dropped"),
        ('["a.png"]', r"line 2: expected an object, found \[\"a.png\"\]"),
        ('{"target": "a.png"}', "line 2: no column reference; found target"),
        ('{"reference": true, "target": "b.png"}', "line 2: expected a text under 'reference', found True"),
        ('{"reference": "a.png", "members": {"b.png": 1}}', "line 2: expected a text under 'members'"),
        ('{"reference": "a.png", "reference": "b.png"}', "line 2: key 'reference' stands there twice"),
        ('{"reference": "a.png", "caption": ' + 100_000 * "[", "line 2: lists within lists"),
        ('{"reference": "\\ud83d", "target": []}', "line 2: expected a text under 'target'"),
        ('{"reference": ' + 5_000 * "1" + "}", "line 2: .*digits"),
    ],
)
def test_a_broken_line_of_jsonl_is_told_and_the_others_are_read(
    tmp_path: Path, line: str, message: str
) -> None:
    root = pictures(tmp_path / "p", "a.png", "b.png")
    good = json.dumps({"reference": "a.png", "target": "b.png", "caption": "bluer", "split": "val"})
    read = read_catalogue(root, table(tmp_path, good, line, good, name="t.jsonl"))
    [detail] = details(read, "broken_row")
    assert re.match(message, detail)
    assert subjects(read, "broken_row") == ["row-2"]
    assert read.triplets["triplet_id"].to_list() == ["row-1", "row-3"]


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p", "a.png")
    with pytest.raises(BrokenAnnotations, match=r"expected a table named \.csv"):
        read_catalogue(root, table(tmp_path, "x", name="table.ods"))
    with pytest.raises(BrokenAnnotations, match="cannot be read as Parquet"):
        read_catalogue(root, table(tmp_path, "x", name="table.parquet"))
    (tmp_path / "latin.csv").write_bytes("reference,target,caption\na.png,a.png,ombré\n".encode("latin-1"))
    with pytest.raises(BrokenAnnotations, match="no UTF-8 text"):
        read_catalogue(root, tmp_path / "latin.csv")
