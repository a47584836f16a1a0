"""The wardrobe as a data set: rendered where it is asked for, and read whole."""

from __future__ import annotations

from pathlib import Path

from cir_assets.datasets.wardrobe.source import WardrobeSource
from cir_assets.pictures.scanning import scan_pictures


def test_a_rendered_wardrobe_reads_whole_with_its_image_sets(tmp_path: Path) -> None:
    # Fewer pictures than a YAML may ask for, so that the test is quick.
    wardrobe = WardrobeSource.model_construct(kind="wardrobe", size=120, seed=3)
    wardrobe.prepare(tmp_path)
    read = wardrobe.read(tmp_path)
    assert read.pictures.height == 120
    assert read.issues.is_empty()
    evaluated = read.triplets.filter(read.triplets["split"] != "train")
    assert evaluated.height > 0
    assert evaluated["target"].null_count() == evaluated["set_members"].null_count() == 0
    images, issues, _ = scan_pictures(read.pictures, read.picture_root)
    assert (images.height, issues.height) == (120, 0)
    assert images["image_key"].n_unique() == 120
