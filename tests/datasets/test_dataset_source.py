"""Published data sets are read as the reference implementation has them; one's own pictures as people see them."""

from __future__ import annotations

from cir_assets.datasets.catalogue_source import CatalogueSource
from cir_assets.datasets.circo import CIRCOSource
from cir_assets.datasets.cirr import CIRRSource
from cir_assets.datasets.fashioniq import FashionIQSource
from cir_assets.datasets.wardrobe.source import WardrobeSource


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
