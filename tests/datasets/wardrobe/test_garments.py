"""Garments: how many attributes differ, and which show."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from cir_assets.datasets.wardrobe.garments import CATEGORIES, differences, random_garment, varied


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9), changes=st.integers(1, 3), category=st.sampled_from(CATEGORIES))
def test_a_varied_garment_differs_in_as_many_attributes_as_asked(
    seed: int, changes: int, category: str
) -> None:
    random = Random(seed)
    garment = random_garment(category, random)
    other = varied(garment, changes, random)
    assert len(differences(garment, other)) == changes
    assert other.category == category
    assert other.colour != other.accent
