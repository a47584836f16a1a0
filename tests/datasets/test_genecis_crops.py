"""Boxes become pictures of their own, cut as the benchmark cuts them, and only those that are not there yet."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from cir_assets.datasets.genecis_boxes import Box
from cir_assets.datasets.genecis_crops import cut_box, cut_boxes, link_folder
from tests.datasets.conftest import write_picture


def test_a_box_is_cut_as_the_benchmark_cuts_it() -> None:
    picture = Image.fromarray(np.arange(100 * 80, dtype=np.uint32).reshape(80, 100).astype(np.uint8), "L")
    cut = np.asarray(cut_box(picture, Box("7", 30, 20, 20, 10)))
    # Left 30 - 14, top 20 - 7, and 1.7 times as wide and high from there: 34 x 17, padded to a square.
    assert cut.shape == (34, 34)
    assert (cut[8:25] == np.asarray(picture)[13:30, 16:50]).all()
    assert not cut[:8].any()
    assert not cut[25:].any()
    at_the_edge = cut_box(picture, Box("7", 5, 70, 20, 10))
    # Left 0, not -9, so it ends at 34; top 63, and the picture ends at 80.
    assert at_the_edge.size == (34, 34)


def test_what_cannot_be_cut_gives_no_file_and_the_others_all_do(tmp_path: Path) -> None:
    pictures, destination = tmp_path / "visual_genome", tmp_path / "crops"
    write_picture(pictures / "VG_100K_2" / "9.jpg", side=16)
    (pictures / "7.jpg").write_text("no picture")
    boxes = [Box("9", 1, 1, 4, 4), Box("9", 2, 2.5, 4, 4), Box("9", 16, 0, 4, 4), Box("7", 0, 0, 2, 2)]
    cut_boxes([*boxes, Box("8", 0, 0, 2, 2)], pictures, destination)
    assert {file.name for file in destination.iterdir()} == {f"{box.image}.png" for box in boxes[:2]}
    with Image.open(destination / "vg-9_1_1_4_4.png") as cut:
        assert (cut.size, cut.mode) == ((7, 7), "RGB")


def test_a_box_is_cut_again_when_its_picture_is_newer(tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "9.jpg", side=16)
    boxes, destination = [Box("9", 1, 1, 4, 4), Box("9", 0, 0, 2, 2)], tmp_path / "crops"
    cut_boxes(boxes[:1], tmp_path, destination)
    first = destination / f"{boxes[0].image}.png"
    before = first.stat().st_ino
    cut_boxes(boxes, tmp_path, destination)
    assert first.stat().st_ino == before
    assert (destination / f"{boxes[1].image}.png").is_file()
    later = first.stat().st_mtime_ns + 10**9
    os.utime(picture, ns=(later, later))
    cut_boxes(boxes, tmp_path, destination)
    assert first.stat().st_ino != before


def test_a_link_leads_to_the_newest_folder(tmp_path: Path) -> None:
    link = tmp_path / "pictures" / "coco"
    for name in ("before", "now", "now"):
        (tmp_path / name).mkdir(exist_ok=True)
        link_folder(link, tmp_path / name)
        assert link.resolve() == (tmp_path / name).resolve()
