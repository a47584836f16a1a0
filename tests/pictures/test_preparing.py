"""Pictures are prepared as the reference implementation prepares them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cir_assets.models.backbone import Backbone
from cir_assets.models.installation import EMBEDDED
from cir_assets.pictures.preparing import prepare_picture
from cir_assets.pictures.settings import Padding


@pytest.mark.parametrize("padding", ["targetpad", "squarepad", "clip"])
def test_prepared_pictures_equal_the_references(parity: Path, padding: Padding) -> None:
    expected = np.load(parity / "preprocess" / "expected_dim32.npz")
    names = [name for name in expected.files if name.endswith(f"__{padding}")]
    assert len(names) == 11
    backbone = Backbone.load(EMBEDDED / "tiny_clip")
    for name in names:
        with Image.open(parity / "preprocess" / "images" / f"{name.split('__')[0]}.png") as picture:
            found = backbone.normalised(prepare_picture(picture, 32, padding)[None])[0].numpy()
        assert np.abs(found - expected[name]).max() <= 1e-5, name
