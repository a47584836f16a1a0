"""Pictures are decoded ahead, in order, and broken ones are told with their reason."""

from __future__ import annotations

import os
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cir_assets.pictures.decoding import decoded_batches


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Seventy pictures of one grey each, with some that do not decode among them."""
    paths = []
    for number in range(70):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (40, 50), (number,) * 3).save(path)
        paths.append(path)
    paths[3].write_text("no picture")
    paths[40].write_bytes(paths[41].read_bytes()[:60])
    paths[69].unlink()
    return paths


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_keep_the_order_and_name_what_failed(pictures: list[Path], workers: int) -> None:
    batches = list(decoded_batches(pictures, resolution=16, batch_size=32, workers=workers))
    rows = np.concatenate([batch.rows for batch in batches])
    failures = dict(failure for batch in batches for failure in batch.failures)
    assert rows.tolist() == [row for row in range(70) if row not in (3, 40, 69)]
    assert set(failures) == {3, 40, 69}
    assert failures[69] == "there is no such file"
    greys = np.concatenate([batch.pixels[:, 8, 8, 0] for batch in batches])
    assert greys.tolist() == rows.tolist()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_colour_mode_becomes_three_channels(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    Image.new(mode, (30, 60)).save(path)
    [batch] = decoded_batches([path], resolution=16, workers=0)
    assert batch.failures == []
    assert batch.pixels.shape == (1, 16, 16, 3)


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="this system has no priorities of processes")
@pytest.mark.parametrize(("on_encoders_cores", "lowered"), [(True, True), (False, False)])
def test_decoding_on_the_encoders_cores_gives_way_to_it(
    tmp_path: Path, on_encoders_cores: bool, lowered: bool
) -> None:
    Image.new("RGB", (20, 30)).save(tmp_path / "a.png")
    own = os.getpriority(os.PRIO_PROCESS, 0)
    before = {child.pid for child in active_children()}
    batches = decoded_batches(
        [tmp_path / "a.png"] * 100, resolution=16, batch_size=32, on_encoders_cores=on_encoders_cores
    )
    next(batches)
    workers = [child.pid for child in active_children() if child.pid not in before]
    assert workers
    assert any(os.getpriority(os.PRIO_PROCESS, pid) > own for pid in workers if pid) == lowered
    assert len(list(batches)) == 3
