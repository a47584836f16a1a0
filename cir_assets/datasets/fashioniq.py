"""FashionIQ's files in the common form; the wardrobe is written in the same layout and read by the same code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from cir_assets.datasets.tables import (
    DATA_ISSUES,
    GALLERIES,
    PICTURES,
    SPLITS,
    TRIPLETS,
    Annotations,
    BrokenAnnotations,
    caption_issues,
    frame,
    issue,
)

ENDINGS = (".png", ".jpg", ".jpeg")
NOT_CAPTIONS = frozenset({"na", "n/a", ""})


def read_fashioniq(folder: Path, *, leave_out_leaked: bool = False) -> Annotations:
    """Read ``captions/``, ``image_splits/`` and, where it is there, ``image_sets.json`` of a folder.

    Rules, each shown in ``data_issues``: an empty or "n/a" caption keeps its triplet; a picture in train of
    one category and in val or test of another is reported, and with ``leave_out_leaked`` left out of train
    together with the triplets that use it. Ids are text and may not hold a path.

    Raises:
        BrokenAnnotations: naming file, place, what was expected and how to mend it.
    """
    galleries: list[dict[str, Any]] = []
    triplets: list[dict[str, Any]] = []
    sets = _image_sets(folder)
    for category, split, file in _split_files(folder):
        for position, image in enumerate(_ids(file)):
            galleries.append({"split": split, "category": category, "position": position, "image": image})
        captions = folder / "captions" / f"cap.{category}.{split}.json"
        if captions.is_file():
            triplets += _triplets(captions, category, split, sets.get((split, category), []))
    gallery_frame = frame(GALLERIES, galleries)
    triplet_frame = frame(TRIPLETS, triplets)
    issues = caption_issues(triplet_frame) + _not_captions(triplet_frame)
    leaked = _leaked(gallery_frame)
    issues += [
        issue("cross_split_leakage", image, "in train of one category and in val or test of another")
        for image in leaked
    ]
    if leave_out_leaked:
        in_train, uses = pl.col("split") == "train", pl.col("image").is_in(leaked)
        gallery_frame = gallery_frame.filter(~(in_train & uses))
        triplet_frame = triplet_frame.filter(
            ~(in_train & (pl.col("reference").is_in(leaked) | pl.col("target").is_in(leaked)))
        )
    names = _named_pictures(gallery_frame, triplet_frame)
    pictures, missing = _located(folder / "images", names)
    return Annotations(
        pictures=frame(PICTURES, pictures),
        galleries=gallery_frame,
        triplets=triplet_frame,
        issues=frame(DATA_ISSUES, issues + missing),
        picture_root=folder / "images",
    )


def read_json(file: Path) -> Any:
    """A JSON file's content.

    Raises:
        BrokenAnnotations: when it is absent or broken, naming line and column.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BrokenAnnotations(f"{file} is not there; fetch the data set's annotations again") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        place = f":{error.lineno}:{error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise BrokenAnnotations(f"{file}{place} is no JSON ({error}); fetch that file again") from error


def checked_id(value: Any, where: str) -> str:
    """An id as text.

    Raises:
        BrokenAnnotations: when it is no text, is empty, or holds a path.
    """
    if not isinstance(value, str) or not value:
        raise BrokenAnnotations(f"{where}: expected a picture's id as text, found {value!r}")
    if "/" in value or "\\" in value or value in (".", "..") or "\0" in value:
        raise BrokenAnnotations(f"{where}: {value!r} holds a path; an id is a file's name without ending")
    return value


def _split_files(folder: Path) -> Iterator[tuple[str, str, Path]]:
    files = sorted((folder / "image_splits").glob("split.*.*.json"))
    if not files:
        raise BrokenAnnotations(f"{folder / 'image_splits'} holds no split.<category>.<split>.json")
    named = [(file.name.split(".")[1], file.name.split(".")[2], file) for file in files]
    yield from sorted(
        (entry for entry in named if entry[1] in SPLITS), key=lambda e: (SPLITS.index(e[1]), e[0])
    )


def _ids(file: Path) -> list[str]:
    content = read_json(file)
    if not isinstance(content, list):
        raise BrokenAnnotations(f"{file}: expected a list of ids, found {type(content).__name__}")
    ids = [checked_id(value, f"{file}, entry {entry}") for entry, value in enumerate(content)]
    if len(set(ids)) != len(ids):
        twice = next(value for value in ids if ids.count(value) > 1)
        raise BrokenAnnotations(f"{file}: {twice!r} stands in the list twice; remove one of them")
    return ids


def _triplets(file: Path, category: str, split: str, sets: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    content = read_json(file)
    if not isinstance(content, list):
        raise BrokenAnnotations(f"{file}: expected a list of triplets, found {type(content).__name__}")
    if sets and len(sets) != len(content):
        raise BrokenAnnotations(
            f"{file} has {len(content)} triplets but image_sets.json {len(sets)} sets for it"
        )
    for entry, row in enumerate(content):
        where = f"{file}, entry {entry}"
        captions = row.get("captions") if isinstance(row, dict) else None
        if (
            not isinstance(captions, list)
            or len(captions) != 2
            or not all(isinstance(c, str) for c in captions)
        ):
            raise BrokenAnnotations(f"{where}: expected 'captions' to be two texts, found {captions!r}")
        image_set = sets[entry] if sets else {}
        yield {
            "triplet_id": f"{split}-{category}-{entry:05d}",
            "split": split,
            "category": category,
            "reference": checked_id(row.get("candidate"), f"{where}, 'candidate'"),
            "target": checked_id(row["target"], f"{where}, 'target'") if "target" in row else None,
            "captions": captions,
            "further_targets": [],
            "set_id": image_set.get("set_id"),
            "set_members": image_set.get("members"),
        }


def _image_sets(folder: Path) -> dict[tuple[str, str], list[dict[str, Any]]]:
    file = folder / "image_sets.json"
    if not file.is_file():
        return {}
    return {
        (split, category): sets
        for split, by_category in read_json(file).items()
        for category, sets in by_category.items()
    }


def _leaked(galleries: pl.DataFrame) -> list[str]:
    train = galleries.filter(pl.col("split") == "train").select("image").unique()
    evaluated = galleries.filter(pl.col("split") != "train").select("image").unique()
    return sorted(train.join(evaluated, on="image", how="semi")["image"].to_list())


def _not_captions(triplets: pl.DataFrame) -> list[dict[str, str]]:
    return [
        issue("no_caption", triplet, f"{caption!r} says nothing; the triplet is kept")
        for triplet, captions in triplets.select("triplet_id", "captions").iter_rows()
        for caption in captions
        if caption.strip().lower() in NOT_CAPTIONS - {""}
    ]


def _named_pictures(galleries: pl.DataFrame, triplets: pl.DataFrame) -> list[str]:
    columns = [galleries["image"], triplets["reference"], triplets["target"].drop_nulls()]
    return pl.concat(columns).unique(maintain_order=True).to_list()


def _located(root: Path, images: list[str]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Each picture's file name, and an issue for each that has none; one look at the folder, not one a picture."""
    files: dict[str, str] = {}
    if root.is_dir():
        for name in sorted((entry.name for entry in root.iterdir()), reverse=True):
            stem, dot, ending = name.rpartition(".")
            if dot and f".{ending.lower()}" in ENDINGS:
                files[stem] = name
    found = [{"image": image, "path": files[image]} for image in images if image in files]
    missing = [
        issue("missing_picture", image, f"no {image}.png, .jpg or .jpeg in {root.name}/")
        for image in images
        if image not in files
    ]
    return found, missing
