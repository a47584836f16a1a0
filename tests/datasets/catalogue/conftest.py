"""Small catalogues written to disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from cir_assets.datasets.catalogue import read_catalogue
from cir_assets.datasets.tables import Annotations
from tests.datasets.conftest import write_picture


def pictures(folder: Path, *names: str) -> Path:
    """Pictures that all differ."""
    for number, name in enumerate(names):
        write_picture(folder / name, (number * 37 % 256, number // 256, 7))
    return folder


def table(folder: Path, *lines: str, name: str = "table.csv") -> Path:
    file = folder / name
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def gallery(read: Annotations, split: str, category: str = "all") -> list[str]:
    rows = read.galleries.filter(pl.col("split") == split, pl.col("category") == category)
    return rows.sort("position")["image"].to_list()


def told(read: Annotations) -> set[tuple[str, str]]:
    """Kind and subject of every issue."""
    return set(read.issues.select("kind", "subject").rows())


def details(read: Annotations, kind: str) -> list[str]:
    return read.issues.filter(pl.col("kind") == kind)["detail"].to_list()


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder, and what is asked of the system until the end asked by somebody whom rights bind, as root's are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)
            for place, folders, _ in os.walk(folder):
                for name in folders:
                    (Path(place) / name).chmod(0o700)


NAMES = tuple(f"p{number}.jpg" for number in range(6))
HEADER = "reference,target,caption,split"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return pictures(tmp_path / "pictures", *NAMES)


def read_text(root: Path, *lines: str, name: str = "t.csv") -> Annotations:
    return read_catalogue(root, table(root.parent, *lines, name=name))


def triplets(read: Annotations) -> list[tuple[str, str | None, list[str]]]:
    return read.triplets.select("reference", "target", "captions").rows()


ONE = [("p0.jpg", "p1.jpg", ["is red"])]
