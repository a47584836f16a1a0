"""What becomes of an export's files while it is served: the champion goes on, and why nothing newer does is told."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cir_assets.serving.champions import Champions
from tests.serving.conftest import PLACE, Shop

TEXT = "is red"


def cut_short(version: Path) -> None:
    with (version / "features.npy").open("r+b") as file:
        file.truncate(1_000)


def a_pipe(version: Path) -> None:
    (version / "norms.npy").unlink()
    os.mkfifo(version / "norms.npy")


def a_pipe_for_a_pointer(version: Path) -> None:
    (version.parent / "current.json").unlink()
    os.mkfifo(version.parent / "current.json")


def nonsense(version: Path) -> None:
    (version.parent / "current.json").write_bytes(b"[1, 2]\xff")


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (cut_short, "version1/features.npy: does not read"),
    "a file is gone": (
        lambda version: (version / "pictures.parquet").unlink(),
        "pictures.parquet: does not read",
    ),
    "a folder in a file's place": (
        lambda version: (version / "folder").mkdir(),
        "folder: is no regular file",
    ),
    "a pipe in a file's place": (a_pipe, "norms.npy: is no regular file"),
    "a link that leads nowhere": (lambda version: (version / "link").symlink_to("nowhere"), "No such file"),
    "the version is gone": (shutil.rmtree, "version1/search.json: does not read"),
    "all is gone": (lambda version: shutil.rmtree(version.parent), "nothing was exported into"),
    "the whole search folder is gone": (
        lambda version: shutil.rmtree(version.parents[3]),
        "nothing was exported",
    ),
    "the pointer is gone": (
        lambda version: (version.parent / "current.json").unlink(),
        "nothing was exported",
    ),
    "a pipe for a pointer": (a_pipe_for_a_pointer, "nothing was exported into"),
    "nonsense for a pointer": (nonsense, "nothing was exported into"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_the_champion_goes_on_whatever_becomes_of_its_files_and_it_is_told(
    shop: Shop, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    do, said = HARMS[harm]
    champions = Champions(shop.storage)
    before = champions.of("boutique").search(shop.pictures["image"][0], TEXT)
    do(shop.storage / PLACE / "version1")
    assert champions.look() == []
    assert champions.look() == []
    assert champions.troubles().keys() == {"boutique/tiny_clip/small"}
    told = champions.troubles()["boutique/tiny_clip/small"]
    assert said in told
    assert len(caplog.records) == 1
    assert "; what was there stays" in caplog.text
    after = champions.of("boutique").search(shop.pictures["image"][0], TEXT)
    assert (after.images, after.scores) == (before.images, before.scores)
    # The next whole export is taken, and all is well again.
    shutil.rmtree(shop.storage / PLACE, ignore_errors=True)
    (shop.storage / PLACE).mkdir(parents=True)
    shop.promote(2)
    assert champions.look() == ["boutique/tiny_clip/small"]
    assert champions.troubles() == {}


def test_a_version_that_is_put_back_whole_is_well_again(shop: Shop) -> None:
    champions = Champions(shop.storage)
    version = shop.storage / PLACE / "version1"
    kept = version.rename(version.with_name("kept"))
    champions.look()
    assert champions.troubles()
    kept.rename(version)
    assert champions.look() == []
    assert champions.troubles() == {}


def test_a_version_made_again_under_its_name_is_loaded_again(shop: Shop) -> None:
    champions = Champions(shop.storage)
    first = champions.of("boutique")
    fewer = Shop(shop.storage, shop.pictures[:50], shop.features[:50], shop.about)
    fewer.promote(1)
    assert champions.look() == ["boutique/tiny_clip/small"]
    assert (len(first), len(champions.of("boutique"))) == (300, 50)
