"""The kinds of data set there are: one line each, and the type of ``source`` in a YAML that they make together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from cir_assets.datasets.dataset_source import DatasetSource

KINDS = (
    "cir_assets.datasets.wardrobe.source:WardrobeSource",
    "cir_assets.datasets.fashioniq:FashionIQSource",
    "cir_assets.datasets.cirr:CIRRSource",
    "cir_assets.datasets.circo:CIRCOSource",
    "cir_assets.datasets.genecis:GeneCISSource",
    "cir_assets.datasets.shoes:ShoesSource",
    "cir_assets.datasets.fashion200k:Fashion200kSource",
    "cir_assets.datasets.lasco:LaSCoSource",
    "cir_assets.datasets.icir:ICIRSource",
    "cir_assets.datasets.catalogue_source:CatalogueSource",
)
"""Every kind of data set, by module and class; a new one is a file and its line here."""


def one_of(kinds: Sequence[str]) -> Any:
    """Make the type of a source that is one of these kinds, told apart by ``kind``."""
    return Annotated[reduce(or_, map(resolve_name, kinds)), Field(discriminator="kind")]


if TYPE_CHECKING:
    Source = DatasetSource
else:
    Source = one_of(KINDS)
