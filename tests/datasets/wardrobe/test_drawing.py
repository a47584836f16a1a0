"""Pictures of garments: equal garments are never equal pixels, and every attribute is seen."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cir_assets.datasets.wardrobe.drawing import as_png, render
from cir_assets.datasets.wardrobe.garments import CHOICES, Garment, changed, differences, shows
from tests.datasets.wardrobe.conftest import garments


@settings(max_examples=60, deadline=None)
@given(garment=garments(), first=st.integers(0, 10**6), second=st.integers(0, 10**6))
def test_equal_garments_never_give_equal_pixels(garment: Garment, first: int, second: int) -> None:
    one, other = render(garment, Random(first)), render(garment, Random(second))
    assert (one.tobytes() == other.tobytes()) == (first == second)
    assert (as_png(one) == as_png(other)) == (first == second)


@settings(max_examples=60, deadline=None)
@given(garment=garments(), attribute=st.sampled_from(sorted(CHOICES)), seed=st.integers(0, 10**6))
def test_every_attribute_shows_in_the_pixels(garment: Garment, attribute: str, seed: int) -> None:
    other = changed(garment, attribute, Random(seed))
    same_pose = [np.asarray(render(each, Random(seed)), dtype=np.int16) for each in (garment, other)]
    apart = np.abs(same_pose[0] - same_pose[1]).max(axis=2)
    assert differences(garment, other) == ([attribute] if shows(garment, attribute) else [])
    if shows(garment, attribute):
        assert (apart > 12).sum() >= 20  # of 12,288 pixels
    else:
        assert apart.max() == 0
