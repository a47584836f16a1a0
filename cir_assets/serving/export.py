"""What search reads: one folder a version with the gallery's features, its pictures and who is champion."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cir_assets.store.contracts import SEARCH_EXAMPLES, SEARCHED_PICTURES, SUGGESTIONS, empty, fitted
from cir_assets.store.files import clear_unfinished, write_folder_whole, write_whole

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
        backbone_version: their digest when the features were made.
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
    backbone_version: str
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
    suggestions: pl.DataFrame | None = None,
) -> Path:
    """Write a version whole, then make it the current one by renaming one file; old versions go.

    Args:
        folder: ``storage/search/<dataset>/<backbone>/<recipe>``.
        version: name of the version.
        about: what it is.
        features: float32 (N, D), raw image features; kept as unit vectors and norms.
        pictures: N rows as ``SEARCHED_PICTURES``, in the features' order.
        examples: queries to try, as ``SEARCH_EXAMPLES``.
        suggestions: what is often said, as ``SUGGESTIONS``; none if None.

    Raises:
        WrongFrame: when a table is not as its contract says.
        ValueError: when features and pictures differ in number.
    """
    if len(features) != pictures.height:
        raise ValueError(f"{len(features)} features do not fit {pictures.height} pictures")
    clear_unfinished(folder)
    destination = folder / version
    with write_folder_whole(destination) as beside:
        norms = np.linalg.norm(features, axis=1)
        np.save(beside / "features.npy", features / np.maximum(norms, np.finfo(np.float32).tiny)[:, None])
        np.save(beside / "norms.npy", norms)
        said = empty(SUGGESTIONS) if suggestions is None else suggestions
        for table, contract in (
            (pictures, SEARCHED_PICTURES),
            (examples, SEARCH_EXAMPLES),
            (said, SUGGESTIONS),
        ):
            fitted(table, contract).write_parquet(beside / f"{contract.name}.parquet")
        (beside / "search.json").write_text(json.dumps(asdict(about), indent=2) + "\n", encoding="utf-8")
    with write_whole(folder / CURRENT) as pointer:
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


def shared_copy(file: Path, folder: Path) -> Path:
    """A version's file, copied once into a folder that the processes of a server share, for all to look into.

    The export's own file may be cut short or written over, which would end a process that looks into it. Copies for
    the pipeline's older versions go; who looks into one goes on to.
    """
    look, pipeline = file.stat(), ".".join(file.parts[-5:-2])
    copy = folder / f"{pipeline}.{look.st_mtime_ns}.{file.parent.name}.{file.name}"
    if not copy.exists():
        beside = folder / f".{copy.name}.{os.getpid()}"
        shutil.copyfile(file, beside)
        # Unlike a renaming, a link leaves alone what another process was quicker to put there.
        with suppress(FileExistsError):
            os.link(beside, copy)
        beside.unlink()
        for older in folder.glob(f"{pipeline}.*.{file.name}"):
            if int(older.name.removeprefix(f"{pipeline}.").partition(".")[0]) < look.st_mtime_ns:
                older.unlink(missing_ok=True)
    return copy


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
