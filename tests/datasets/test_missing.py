"""What is missing of a data set is told exactly, with the triplets that fall."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from cir_assets.datasets.fashioniq import read_fashioniq
from cir_assets.datasets.missing import missing_pictures
from cir_assets.pictures.scanning import scan_pictures
from tests.datasets.conftest import write_picture


def test_missing_pictures_are_told_exactly_with_the_triplets_that_fall(
    fashioniq_folder: Path, tmp_path: Path
) -> None:
    for name in ("image_splits/split.dress.val.json", "captions/cap.dress.val.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(fashioniq_folder / name, tmp_path / name)
    rows = json.loads((tmp_path / "captions" / "cap.dress.val.json").read_text())
    listed = json.loads((tmp_path / "image_splits" / "split.dress.val.json").read_text())
    unused = next(i for i in listed if i not in {r["candidate"] for r in rows} | {r["target"] for r in rows})
    gone = {rows[0]["candidate"], rows[5]["target"], unused}
    picture = write_picture(tmp_path / "one.jpg").read_bytes()
    (tmp_path / "images").mkdir()
    for image in set(listed) - gone:
        (tmp_path / "images" / f"{image}.jpg").write_bytes(picture)
    read = read_fashioniq(tmp_path)
    images, issues, _ = scan_pictures(read.pictures, read.picture_root)
    assert images.height == 3_817 - 3
    assert set(issues["kind"]) == {"missing_picture"}
    assert set(issues["subject"]) == gone
    table = missing_pictures(read, images)
    assert set(table["image"]) == gone
    assert table["in_gallery"].all()
    told = {row["image"]: row for row in table.iter_rows(named=True)}
    for image in gone:
        assert told[image]["as_reference"] == sum(row["candidate"] == image for row in rows)
        assert told[image]["as_target"] == sum(row["target"] == image for row in rows)
    assert told[unused]["triplets_lost"] == 0
    assert told[rows[5]["target"]]["triplets_lost"] >= 1
