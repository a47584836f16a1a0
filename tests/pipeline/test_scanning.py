"""A data set as its files are now: its version follows their content, not their dates."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cir_assets.datasets.catalogue_source import CatalogueSource
from cir_assets.pipeline.identity import DatasetPlan
from cir_assets.pipeline.scanning import content_version, scan
from cir_assets.pipeline.step import Work
from cir_assets.store.layout import Storage
from tests.pipeline.conftest import ByHand
from tests.random_pictures import picture_bytes, write_pictures


@pytest.fixture
def data(by_hand: ByHand, tmp_path: Path) -> DatasetPlan:
    """Three pictures without a table."""
    folder = tmp_path / "pictures"
    write_pictures(folder, ["a.jpg", "b.jpg", "c.jpg"])
    source = CatalogueSource(kind="catalogue", pictures=str(folder))
    return replace(by_hand.pipeline.data, source=source)


def test_the_version_is_that_of_the_content(data: DatasetPlan, tmp_path: Path) -> None:
    work = Work(Storage(tmp_path / "storage"))

    def version() -> str:
        return content_version(*scan(work, data))

    first = version()
    for picture in (tmp_path / "pictures").iterdir():
        os.utime(picture)
    assert version() == first
    (tmp_path / "pictures" / "b.jpg").write_bytes(picture_bytes("another"))
    second = version()
    assert second != first
    (tmp_path / "pictures" / "c.jpg").write_bytes(b"no picture")
    _, images, issues = scan(work, data)
    assert (images["image"].to_list(), issues["subject"].to_list()) == (["a.jpg", "b.jpg"], ["c.jpg"])
    assert version() not in (first, second)
