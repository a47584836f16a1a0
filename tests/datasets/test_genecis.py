"""GeneCIS's real object tasks, attribute tasks in their form, and files of another version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import TypeAdapter

from cir_assets.datasets.genecis import read_genecis
from cir_assets.datasets.sources import Source
from cir_assets.datasets.tables import Annotations, BrokenAnnotations
from tests.datasets.conftest import counts, subjects, write_json, write_picture


@pytest.fixture(scope="module")
def genecis(real_data: Path) -> Annotations:
    return read_genecis(real_data / "genecis", pictures=real_data / "absent")


def coco(number: int) -> dict[str, int]:
    return {"val_image_id": number}


def box(number: int, *sides: float) -> dict[str, Any]:
    return {"image_id": str(number), "instance_bbox": list(sides), "object_name": "dog"}


def query(reference: Any, target: Any, *gallery: Any, condition: str = "a dog") -> dict[str, Any]:
    return {"condition": condition, "reference": reference, "target": target, "gallery": list(gallery)}


def test_the_real_object_tasks_give_every_query(genecis: Annotations) -> None:
    assert counts(genecis.triplets) == {("val", "focus_object"): 1_960, ("val", "change_object"): 1_960}
    for task, pictures, conditions in (("focus_object", 2_198, 97), ("change_object", 2_739, 109)):
        queries = genecis.triplets.filter(category=task)
        named = pl.concat([queries["reference"], queries["set_members"].explode(empty_as_null=False)])
        assert named.n_unique() == pictures
        assert queries["captions"].list.first().n_unique() == conditions


def test_fifteen_candidates_of_which_the_target_is_one_and_the_reference_none(genecis: Annotations) -> None:
    assert genecis.triplets["set_members"].list.len().value_counts(sort=True).rows() == [(15, 3_919), (14, 1)]
    for row in genecis.triplets.iter_rows(named=True):
        assert row["set_members"][0] == row["target"]
        assert row["reference"] not in row["set_members"]


def test_the_one_gallery_that_holds_its_target_is_told(genecis: Annotations) -> None:
    assert subjects(genecis, "target_in_gallery") == ["val/change_object-19"]


def test_a_task_is_ranked_in_all_its_candidates_by_number(genecis: Annotations) -> None:
    for task in ("focus_object", "change_object"):
        gallery = genecis.galleries.filter(category=task)["image"].cast(pl.Int64)
        members = genecis.triplets.filter(category=task)["set_members"].explode(empty_as_null=False)
        assert gallery.to_list() == sorted(set(members.cast(pl.Int64)))


def test_rows_of_an_odd_gallery_are_dropped_as_the_benchmark_drops_them(tmp_path: Path) -> None:
    rows = [
        query(coco(1), coco(2), coco(3)),
        query(coco(1), coco(3), coco(2), coco(4)),
        query(coco(4), coco(2), coco(3)),
    ]
    write_json(tmp_path / "focus_object.json", rows)
    read = read_genecis(tmp_path, pictures=tmp_path)
    assert read.triplets["triplet_id"].to_list() == ["focus_object-0", "focus_object-2"]
    assert subjects(read, "odd_gallery") == ["val/focus_object-1"]


def test_odd_candidates_are_told_and_ranked_once(tmp_path: Path) -> None:
    rows = [
        query(coco(1), coco(2), coco(2)),
        query(coco(1), coco(2), coco(1)),
        query(coco(1), coco(2), coco(3)),
    ]
    write_json(tmp_path / "focus_object.json", rows)
    read = read_genecis(tmp_path, pictures=tmp_path)
    assert read.triplets["set_members"].to_list() == [["2"], ["2", "1"], ["2", "3"]]
    assert subjects(read, "target_in_gallery") == ["val/focus_object-0"]
    # The protocol leaves the reference out of the ranking.
    assert subjects(read, "reference_in_gallery") == ["val/focus_object-1"]
    write_json(tmp_path / "focus_object.json", [query(coco(1), coco(2), coco(3), coco(3))])
    assert subjects(read_genecis(tmp_path, pictures=tmp_path), "repeated_candidate") == ["val/focus_object-0"]


def test_attribute_tasks_are_read_with_their_boxes_cut_out(tmp_path: Path) -> None:
    source: Source = TypeAdapter(Source).validate_python({"kind": "genecis", "folder": str(tmp_path)})
    write_json(tmp_path / "focus_object.json", [query(coco(1), coco(2), coco(3))])
    for number in (1, 2, 3):
        write_picture(tmp_path / "val2017" / f"{number:012d}.jpg")
    raw = tmp_path / "raw"
    source.prepare(raw)
    assert source.picture_root(raw) == tmp_path / "val2017"
    assert not raw.exists()

    write_json(
        tmp_path / "change_attribute.json",
        [query(box(9, 1, 1, 4, 4), box(9, 2, 2.5, 4, 4), box(8, 0, 0, 2, 2), condition="white")],
    )
    write_picture(tmp_path / "visual_genome" / "VG_100K" / "9.jpg", side=16)
    source.prepare(raw)
    read = source.read(raw)
    assert counts(read.triplets) == {("val", "change_attribute"): 1, ("val", "focus_object"): 1}
    there = {image for image, path in read.pictures.rows() if (read.picture_root / path).is_file()}
    # Picture 8 of Visual Genome is not there, so its box is missing.
    assert there == {"1", "2", "3", "vg-9_1_1_4_4", "vg-9_2_2.5_4_4"}
    assert set(read.pictures["image"]) - there == {"vg-8_0_0_2_2"}
    cut = read.picture_root / "crops" / "vg-9_1_1_4_4.png"
    before = cut.stat().st_mtime_ns
    source.prepare(raw)
    assert cut.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            query({"image_id": 1}, coco(2), coco(3)),
            "'reference': expected a whole number under 'val_image_id'",
        ),
        (query(1, coco(2), coco(3)), "'reference': expected an object that names a picture, found 1"),
        (query(coco(1), coco(2)), "expected a list of pictures under 'gallery'"),
        ({**query(coco(1), coco(2), coco(3)), "condition": None}, "expected a text under 'condition'"),
    ],
)
def test_a_broken_entry_is_told_by_file_and_entry(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    write_json(tmp_path / "change_object.json", [query(coco(1), coco(2), coco(3)), row])
    with pytest.raises(BrokenAnnotations, match=rf"change_object\.json, entry 1.*{message}"):
        read_genecis(tmp_path, pictures=tmp_path)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (box(9, 1, 1, 4), r"expected \[left, top, width, height\]"),
        (box(9, 1, 1, 0, 4), r"expected \[left, top, width, height\]"),
        ({"image_id": "x9", "instance_bbox": [1, 1, 4, 4]}, "expected the number of Visual Genome's picture"),
    ],
)
def test_a_broken_box_is_told(tmp_path: Path, named: dict[str, Any], message: str) -> None:
    write_json(tmp_path / "focus_attribute.json", [query(box(1, 1, 1, 2, 2), named, box(2, 1, 1, 2, 2))])
    with pytest.raises(BrokenAnnotations, match=rf"focus_attribute\.json, entry 0, 'target': {message}"):
        read_genecis(tmp_path, pictures=tmp_path)


def test_the_older_pickles_are_not_opened_but_named(tmp_path: Path) -> None:
    (tmp_path / "focus_object.pkl").write_bytes(b"\x80\x04N.")
    with pytest.raises(
        BrokenAnnotations, match=r"holds no task of GeneCIS .*focus_object\.pkl is of an older"
    ):
        read_genecis(tmp_path, pictures=tmp_path)
