"""What people install: sdist and wheel are built, and the wheel works in a folder that holds nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from cir_assets.store.home import SETTINGS
from tests.trial_project import PROJECT

BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
LARGE = 100_000
"""Bytes; what is larger has to be meant."""


def run(*command: str | Path, at: Path, **environment: str) -> str:
    """What a process printed; nothing of this one's environment that could find the project is handed on."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "DAGSTER_HOME", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=at,
        env={**kept, "PYTHONWARNINGS": "ignore", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is made of the sdist, which is made of what a clone holds."""
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "clone"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    shutil.copytree(
        PROJECT / "cir_assets", source / "cir_assets", ignore=shutil.ignore_patterns("__pycache__")
    )
    sdist = run(sys.executable, "-c", BUILD, "build_sdist", folder, at=source).splitlines()[-1]
    with tarfile.open(folder / sdist) as packed:
        packed.extractall(folder, filter="data")
    unpacked = folder / sdist.removesuffix(".tar.gz")
    return folder / run(sys.executable, "-c", BUILD, "build_wheel", folder, at=unpacked).splitlines()[-1]


@pytest.fixture(scope="module")
def commands(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment with the wheel installed, and with what it depends on.

    The dependencies are those the tests run with: their folder is on the path, and what is in it that leads back to
    the project is not read.
    """
    place = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", place, at=place)
    [packages] = (place / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    python = place / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        wheel,
        at=place,
    )
    found = run(python, "-c", "import cir_assets; print(cir_assets.__file__)", at=place)
    assert found.startswith(str(packages))
    return place / "bin"


def test_it_carries_the_embedded_model_and_nothing_else_of_size(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        sizes = {each.filename: each.file_size for each in packed.infolist()}
    assert {name for name, size in sizes.items() if size > LARGE} == {
        "cir_assets/models/tiny_clip/model.safetensors"
    }
    assert {
        "cir_assets/dg.toml",
        "cir_assets/store/dagster.yaml",
        "cir_assets/serving/page/search.html",
    } <= sizes.keys()
    data_sets = {name.split("/")[2] for name in sizes if name.endswith("/defs.yaml")}
    assert data_sets == {"backbones", "wardrobe", "fashioniq", "cirr", "circo"}
    assert not [name for name in sizes if not name.startswith("cir_assets")]


def test_the_packaged_graph_loads_in_an_empty_folder_and_dg_finds_the_components(
    commands: Path, tmp_path: Path
) -> None:
    validate = ("-m", "dagster", "definitions", "validate", "-m", "cir_assets.definitions")
    run(commands / "python", *validate, at=tmp_path)
    listed = run(commands / "python", "-m", "dagster_dg_cli.cli", "list", "components", "--json", at=tmp_path)
    for component in ("Dataset", "Backbones"):
        assert f'"cir_assets.components.{component}"' in listed


def test_a_project_is_written_and_demonstrated(commands: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    random = np.random.default_rng(0)
    for number in range(24):
        Image.fromarray(random.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(pictures / f"{number}.png")
    rows = [
        {"reference": f"{n}.png", "target": f"{n + 1}.png", "caption": f"is number {n}"}
        for n in range(0, 24, 2)
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "triplets.csv")
    run(
        commands / "cir-assets",
        "new",
        "shop",
        "--pictures",
        "pictures",
        "--triplets",
        "triplets.csv",
        at=tmp_path,
    )
    project = tmp_path / "shop"
    shutil.rmtree(project / "storage")
    shown = run(commands / "cir-assets", "demo", at=project, OMP_NUM_THREADS="1")
    assert "shop · tiny_clip · small (fashioniq protocol)" in shown
    assert (project / "storage" / "dagster.yaml").read_bytes() == SETTINGS.read_bytes()
    assert (project / "storage" / "reports" / "shop" / "tiny_clip" / "small" / "index.html").is_file()
    [card] = (project / "storage" / "models" / "shop" / "tiny_clip" / "small" / "combiner").glob(
        "*/README.md"
    )
    assert "composed-image-retrieval" in card.read_text()
