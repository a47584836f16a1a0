"""One's own pictures are encoded as people see them; published data sets as the reference implementation has them."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from PIL import Image

from cir_assets.datasets.catalogue_source import CatalogueSource
from cir_assets.datasets.circo import CIRCOSource
from cir_assets.datasets.cirr import CIRRSource
from cir_assets.datasets.fashioniq import FashionIQSource
from cir_assets.datasets.wardrobe.source import WardrobeSource
from cir_assets.store.database import opened
from tests.random_pictures import picture_bytes
from tests.trial_project import TrialProject, metadata_of

STEPS = ('key:"shop/raw"', 'key:"shop/images"', 'key:"shop/tiny_clip/image_features"')
FEATURES = "shop/tiny_clip/image_features"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """One picture upright and as a phone stores it, one on white and as a cut-out."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    (tmp_path / "photo.jpg").write_bytes(picture_bytes("photo"))
    with Image.open(tmp_path / "photo.jpg") as photo:
        photo.save(folder / "upright.png")
        exif = Image.Exif()
        exif[0x0112] = 6
        photo.transpose(Image.Transpose.ROTATE_90).save(folder / "lying.png", exif=exif)
        on_white, cut_out = Image.new("RGB", (64, 64), "white"), Image.new("RGBA", (64, 64))
        for ground in (on_white, cut_out):
            ground.paste(photo, (16, 12))
    on_white.save(folder / "on_white.png")
    cut_out.save(folder / "cut_out.png")
    return folder


def features(project: TrialProject, preprocessing: str) -> dict[str, np.ndarray]:
    """Unit features by picture."""
    images = pl.read_parquet(project.storage.tables("shop") / "images.parquet")
    names = dict(images.select("image_key", "image").iter_rows())
    with opened(project.storage.features("shop", "tiny_clip"), read_only=True) as connection:
        rows = connection.execute(
            "SELECT image_key, feature FROM image_features WHERE preprocessing = $1", [preprocessing]
        ).fetchall()
    return {names[key]: np.array(feature) / np.linalg.norm(feature) for key, feature in rows}


def test_a_catalogue_is_encoded_as_people_see_it_and_as_stored_where_asked(
    project: TrialProject, instance: dg.DagsterInstance, shop: Path
) -> None:
    source = {"kind": "catalogue", "pictures": str(shop)}
    project.write_dataset("shop", source=source, decoding_workers=0)
    project.materialize(instance, *STEPS)
    seen = features(project, "targetpad1.25@64 as_seen")
    assert seen["lying.png"] @ seen["upright.png"] == pytest.approx(1)
    assert seen["cut_out.png"] @ seen["on_white.png"] == pytest.approx(1)
    project.write_dataset("shop", source={**source, "reading": "reference"}, decoding_workers=0)
    again = project.materialize(instance, *STEPS)
    stored = features(project, "targetpad1.25@64")
    assert metadata_of(again, FEATURES)["encoded"] == 4
    assert stored["lying.png"] @ stored["upright.png"] < 0.99
    assert stored["cut_out.png"] @ stored["on_white.png"] < 0.99
    assert stored["upright.png"] @ seen["upright.png"] == pytest.approx(1)


def test_a_data_set_is_read_as_its_kind_is_unless_it_says_otherwise() -> None:
    published = [
        WardrobeSource(kind="wardrobe"),
        FashionIQSource(kind="fashioniq", folder="f"),
        CIRRSource(kind="cirr", folder="f"),
        CIRCOSource(kind="circo", folder="f"),
    ]
    assert {source.reading for source in published} == {"reference"}
    assert CatalogueSource(kind="catalogue", pictures="p").reading == "as_seen"
    assert CIRRSource(kind="cirr", folder="f", reading="as_seen").reading == "as_seen"


def test_the_reading_is_no_part_of_what_the_files_say() -> None:
    one, other = (
        CatalogueSource(kind="catalogue", pictures="p", reading=way) for way in ("as_seen", "reference")
    )
    assert one.model_dump(mode="json") == other.model_dump(mode="json")
