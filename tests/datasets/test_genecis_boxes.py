"""A box's picture goes by an id that tells the picture and the box, so that no two boxes share one."""

from __future__ import annotations

from cir_assets.datasets.genecis_boxes import Box


def test_an_id_names_the_picture_and_the_box_without_needless_zeros() -> None:
    assert Box("2370799", 30.0, 2.5, 20, 10).image == "vg-2370799_30_2.5_20_10"


def test_boxes_that_differ_have_ids_that_differ() -> None:
    boxes = [Box("1", 1, 2, 3, 4), Box("1", 12, 3, 4, 5), Box("1", 1, 23, 4, 5), Box("11", 1, 2, 3, 4)]
    boxes.append(Box("1", 1.5, 2, 3, 4))
    assert len({box.image for box in boxes}) == len(boxes)
