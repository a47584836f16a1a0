"""Pictures are decoded ahead, in order, and broken ones are told with their reason."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cir_assets.pictures.decoding import Failure, decoded_batches


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


def key_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_keep_the_order_and_name_what_failed(pictures: list[Path], workers: int) -> None:
    batches = list(decoded_batches(pictures, resolution=16, batch_size=32, workers=workers))
    rows = np.concatenate([batch.rows for batch in batches])
    failures = {failure.row: failure for batch in batches for failure in batch.failures}
    assert rows.tolist() == [row for row in range(70) if row not in (3, 40, 69)]
    assert set(failures) == {3, 40, 69}
    assert failures[69] == Failure(69, "there is no such file", True, None)
    for row in (3, 40):
        assert not failures[row].passing
        assert failures[row].image_key == key_of(pictures[row])
    keys = [key for batch in batches for key in batch.image_keys]
    assert keys == [key_of(pictures[row]) for row in rows]
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


def test_a_process_that_is_ended_costs_no_picture_that_decodes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(200)]
    for path in paths:
        Image.effect_noise((300, 300), 50).save(path)
    before = {child.pid for child in active_children()}
    batches = decoded_batches(paths, resolution=16, batch_size=32)
    decoded = [next(batches)]
    for child in active_children():
        if child.pid not in before and child.pid is not None:
            os.kill(child.pid, signal.SIGKILL)
    decoded += batches
    assert np.concatenate([batch.rows for batch in decoded]).tolist() == list(range(200))
    assert [failure for batch in decoded for failure in batch.failures] == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ENOSPC, errno.ESTALE, errno.EACCES])
def test_what_the_system_does_not_give_now_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    Image.new("RGB", (20, 30)).save(tmp_path / "a.png")

    def refused(*given: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refused)
    [batch] = decoded_batches([tmp_path / "a.png"], resolution=16, workers=0)
    assert batch.failures == [Failure(0, f"it cannot be read: {os.strerror(number)}", True, None)]


def test_lack_of_memory_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (20, 30)).save(tmp_path / "a.png")

    def lacking(*given: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "resize", lacking)
    [batch] = decoded_batches([tmp_path / "a.png"], resolution=16, workers=0)
    [failure] = batch.failures
    assert (failure.passing, failure.image_key) == (True, key_of(tmp_path / "a.png"))
    assert "memory" in failure.reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_a_picture_s_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    [batch] = decoded_batches([tmp_path / "a.png", tmp_path], resolution=16, workers=0)
    assert [(failure.reason, failure.passing) for failure in batch.failures] == [("it is no file", True)] * 2
