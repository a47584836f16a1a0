"""What search reads: one folder a version with the gallery's features, its pictures and who is champion."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cir_assets.store.files import clear_unfinished, folder_written_whole, written_whole

CURRENT = "current.json"
KEPT = 2
"""Newest versions that stay: the one in use, and the one a server may just be reading."""


class NothingExported(LookupError):
    """There is nothing to search; the message says what to materialize."""


class BrokenExport(ValueError):
    """An export that does not load; the message names its file, what is wrong, and what to materialize again."""

    def __init__(self, file: Path, said: str) -> None:
        place = "/".join(file.parts[-5:-2])
        super().__init__(f"{file}: {said}; materialize the asset {place}/search again")


@dataclass(frozen=True)
class Exported:
    """What a version says of itself; paths are absolute or relative to the storage folder.

    Attributes:
        dataset: name of the data set.
        backbone: name of the dual encoder.
        recipe: name of the hyper-parameters.
        method: of the ladder; one that needs no model where there is no champion.
        share: of a method that has shares, the one to take; None for the others.
        champion: digest of the champion's models; None where there is none, and CLIP searches as it came.
        champion_since: ISO 8601, UTC.
        headline: the champion's on val when it was promoted, percent.
        models: those the method is made of, name -> folder.
        backbone_folder: the backbone's weights.
        picture_root: pictures' paths begin here.
        padding: how pictures are prepared.
        target_ratio: of targetpad.
        pixel_limit: pictures of more pixels are refused.
    """

    dataset: str
    backbone: str
    recipe: str
    method: str
    share: float | None
    champion: str | None
    champion_since: str | None
    headline: float | None
    models: Mapping[str, str]
    backbone_folder: str
    picture_root: str
    padding: str
    target_ratio: float
    pixel_limit: int


def export(
    folder: Path,
    version: str,
    about: Exported,
    features: NDArray[np.float32],
    pictures: pl.DataFrame,
    examples: pl.DataFrame,
) -> Path:
    """Write a version whole, then make it the current one by renaming one file; old versions go.

    Args:
        folder: ``storage/search/<dataset>/<backbone>/<recipe>``.
        version: name of the version.
        about: what it is.
        features: float32 (N, D), raw image features; kept as unit vectors and norms.
        pictures: N rows in the features' order: image, path, category and image_key, the SHA-256 of the file's bytes
            in hexadecimal, by which exact copies are told.
        examples: queries to try: query_id, reference, caption, target, category.

    Raises:
        ValueError: when features and pictures differ in number.
    """
    if len(features) != pictures.height:
        raise ValueError(f"{len(features)} features do not fit {pictures.height} pictures")
    clear_unfinished(folder)
    destination = folder / version
    with folder_written_whole(destination) as beside:
        norms = np.linalg.norm(features, axis=1)
        np.save(beside / "features.npy", features / np.maximum(norms, np.finfo(np.float32).tiny)[:, None])
        np.save(beside / "norms.npy", norms)
        pictures.select("image", "path", "category", "image_key").write_parquet(beside / "pictures.parquet")
        examples.write_parquet(beside / "examples.parquet")
        (beside / "search.json").write_text(json.dumps(asdict(about), indent=2) + "\n", encoding="utf-8")
    with written_whole(folder / CURRENT) as pointer:
        pointer.write_text(json.dumps({"version": version}) + "\n", encoding="utf-8")
    _forget(folder, version)
    return destination


def current(folder: Path) -> Path:
    """The folder of the current version.

    Raises:
        NothingExported: when there is none.
    """
    file = folder / CURRENT
    try:
        if not file.is_file():
            raise FileNotFoundError(file)
        version = json.loads(file.read_text(encoding="utf-8"))["version"]
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise NothingExported(
            f"nothing was exported into {folder}: materialize the asset {'/'.join(folder.parts[-3:])}/search"
        ) from error
    return folder / str(version)


def every_export(root: Path, dataset: str | None = None) -> Sequence[Path]:
    """Folders with a current version below ``storage/search``, of every data set or of the one with that name."""
    folders = sorted(file.parent for file in root.glob(f"*/*/*/{CURRENT}") if file.is_file())
    return [folder for folder in folders if dataset in (None, folder.parts[-3])]


def read_about(version: Path) -> Exported:
    """What a version says of itself.

    Raises:
        BrokenExport: when its file does not read, or is of an older or newer form.
    """
    file = version / "search.json"
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BrokenExport(file, f"does not read ({error})") from error
    known = {each.name for each in fields(Exported)}
    if not isinstance(said, dict) or said.keys() != known:
        there = said.keys() if isinstance(said, dict) else set()
        wrong = [f"lacks {', '.join(sorted(known - there))}"] if known - there else []
        wrong += [f"has an unknown {', '.join(sorted(there - known))}"] if there - known else []
        raise BrokenExport(file, f"is of another form than this version writes: it {' and '.join(wrong)}")
    return Exported(**said)


def _forget(folder: Path, newest: str) -> None:
    """Remove all but the newest versions; what is being written, or was left half-written, is none of them."""
    others = [
        each
        for each in folder.iterdir()
        if each.is_dir() and not each.name.startswith(".") and each.name != newest
    ]
    others.sort(key=lambda each: each.stat().st_mtime_ns, reverse=True)
    for each in others[KEPT - 1 :]:
        shutil.rmtree(each, ignore_errors=True)
