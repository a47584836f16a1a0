"""A catalogue as a data set: a folder or an archive of pictures, with a table or without."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from cir_assets.datasets.sources import Source
from tests.datasets.conftest import write_picture

SOURCES: TypeAdapter[Source] = TypeAdapter(Source)


def source(**settings: Any) -> Source:
    return SOURCES.validate_python(settings)


def test_a_catalogue_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"source\.pictures .*absent is no folder"):
        source(kind="catalogue", pictures=str(tmp_path / "absent")).prepare(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"source\.triplets .*table\.csv is no file"):
        source(kind="catalogue", pictures=str(tmp_path), triplets=str(tmp_path / "table.csv")).prepare(
            tmp_path
        )


def test_an_empty_catalogue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds none of the 0 pictures"):
        source(kind="catalogue", pictures=str(tmp_path)).prepare(tmp_path)


def test_an_archive_of_pictures_is_read_as_its_folder_is(tmp_path: Path) -> None:
    for name in ("shoes/a.png", "b.png"):
        write_picture(tmp_path / "pictures" / name)
    packed = shutil.make_archive(str(tmp_path / "packed"), "gztar", tmp_path / "pictures")
    archive = source(kind="catalogue", pictures=packed)
    archive.prepare(tmp_path / "raw")
    read = archive.read(tmp_path / "raw")
    folder = source(kind="catalogue", pictures=str(tmp_path / "pictures")).read(tmp_path / "other")
    assert read.pictures.equals(folder.pictures)
    assert read.picture_root == tmp_path / "raw" / "pictures"
    assert (read.picture_root / "shoes" / "a.png").is_file()
