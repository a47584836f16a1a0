"""The whole wardrobe from a seed: families of look-alikes, triplets within them, files in FashionIQ's layout."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cir_assets.datasets.wardrobe.drawing import as_png, render
from cir_assets.datasets.wardrobe.garments import (
    CATEGORIES,
    CHOICES,
    Garment,
    differences,
    random_garment,
    shows,
    varied,
)
from cir_assets.datasets.wardrobe.language import describe, relative_captions
from cir_assets.progress import ProgressFactory, terminal_progress

SPLITS = ("train", "val", "test")
FAMILY = 6
"""Look-alikes in a family; a query's reference and target are of one family, CIRR's set of six."""

EVALUATED_SHARE = 0.3
"""Share of a category's pictures in val, and the same in test."""

QUERIES_A_FAMILY = 2
"""Queries of each family in val and test; in train every picture is a target once."""

PLAN = "plan.json"
CHUNK = 64


@dataclass(frozen=True)
class Picture:
    """One picture to be rendered."""

    image: str
    split: str
    category: str
    garment: Garment


@dataclass(frozen=True)
class Query:
    """One triplet: its pictures, captions and family."""

    reference: str
    target: str
    captions: list[str]
    family: str
    members: list[str]


@dataclass(frozen=True)
class Wardrobe:
    """Everything a wardrobe holds, before anything is drawn."""

    pictures: list[Picture]
    queries: dict[tuple[str, str], list[Query]]
    """(split, category) -> triplets in file order."""


def plan_wardrobe(size: int, seed: int) -> Wardrobe:
    """Decide every garment, family, triplet and caption of a wardrobe of ``size`` pictures.

    No two pictures of one gallery show garments equal in every visible attribute, so a query has one answer.
    """
    pictures: list[Picture] = []
    queries: dict[tuple[str, str], list[Query]] = {}
    names = _names(seed)
    for split, category, count in _shares(size):
        seen: set[tuple[Any, ...]] = set()
        found: list[Query] = []
        sizes = [FAMILY] * (count // FAMILY) + ([count % FAMILY] if count % FAMILY else [])
        for number, family_size in enumerate(sizes):
            random = Random(f"{seed}/{split}/{category}/{number}")
            family = [
                Picture(next(names), split, category, garment)
                for garment in _family(category, family_size, seen, random)
            ]
            pictures += family
            found += _queries(split, category, number, family, random)
        queries[split, category] = found
    return Wardrobe(pictures, queries)


def render_wardrobe(
    folder: Path,
    size: int,
    seed: int,
    progress: ProgressFactory = terminal_progress,
    workers: int | None = None,
) -> None:
    """Render a wardrobe of ``size`` pictures into ``folder``, in FashionIQ's layout.

    ``captions/``, ``image_splits/`` and ``images/<id>.png`` as FashionIQ has them (test keeps its targets),
    ``image_sets.json`` with each query's family, and ``attributes.parquet`` with every picture's attributes.
    A rendering that was broken off goes on where it stopped; one of another size or seed is replaced.
    """
    plan = {"size": size, "seed": seed, "generation": 1}
    if _read_plan(folder) == {**plan, "complete": True}:
        return
    if _read_plan(folder) != {**plan, "complete": False}:
        for name in ("images", "captions", "image_splits"):
            shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    _write(folder / PLAN, json.dumps({**plan, "complete": False}).encode())
    wardrobe = plan_wardrobe(size, seed)
    _write_annotations(folder, wardrobe)
    there = {entry.name for entry in os.scandir(folder / "images")}
    missing = [p for p in wardrobe.pictures if f"{p.image}.png" not in there]
    with progress("render pictures", len(wardrobe.pictures), "pictures") as shown:
        shown.advance(len(wardrobe.pictures) - len(missing))
        chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
        workers = (os.cpu_count() or 1) if workers is None else workers
        if workers <= 1 or len(chunks) <= 1:
            for chunk in chunks:
                shown.advance(_render_chunk(folder, seed, chunk))
        else:
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                for count in pool.map(_render_chunk, [folder] * len(chunks), [seed] * len(chunks), chunks):
                    shown.advance(count)
    _write(folder / PLAN, json.dumps({**plan, "complete": True}).encode())


def pretraining_pair(seed: int, index: int) -> tuple[NDArray[np.uint8], str]:
    """Picture ``index`` of an endless row for pre-training, uint8 (128, 96, 3), and its full description.

    Its random numbers come from a name-space of their own: none of these pictures is in any wardrobe.
    """
    random = Random(f"pretraining/{seed}/{index}")
    garment = random_garment(CATEGORIES[index % len(CATEGORIES)], random)
    description = describe(garment, random)
    return np.asarray(render(garment, random)), description


def _shares(size: int) -> Iterator[tuple[str, str, int]]:
    """(split, category, pictures): val and test in whole families, train the rest; together ``size``."""
    for position, category in enumerate(CATEGORIES):
        total = size // len(CATEGORIES) + (position < size % len(CATEGORIES))
        evaluated = max(1, round(total * EVALUATED_SHARE / FAMILY)) * FAMILY
        for split in SPLITS:
            yield split, category, total - 2 * evaluated if split == "train" else evaluated


def _names(seed: int) -> Iterator[str]:
    """Ten-character ids like FashionIQ's, each once: a walk with a step coprime to the number of ids."""
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    space = len(alphabet) ** 8
    random = Random(f"{seed}/names")
    value, step = random.randrange(space), random.randrange(space // 6) * 6 + 1
    while True:
        value = (value + step) % space
        digits, rest = "", value
        for _ in range(8):
            rest, digit = divmod(rest, len(alphabet))
            digits = alphabet[digit] + digits
        yield f"W0{digits}"


def _family(category: str, size: int, seen: set[tuple[Any, ...]], random: Random) -> Iterator[Garment]:
    """A garment and look-alikes of it, one or two attributes off, none of them in the gallery yet."""
    base = random_garment(category, random)
    made = 0
    while made < size:
        garment = base if made == 0 else varied(base, 1 if random.random() < 0.6 else 2, random)
        visible = tuple(getattr(garment, name) if shows(garment, name) else None for name in CHOICES)
        if visible in seen:
            if made == 0:
                base = random_garment(category, random)
            continue
        seen.add(visible)
        made += 1
        yield garment


def _queries(
    split: str, category: str, number: int, family: Sequence[Picture], random: Random
) -> Iterator[Query]:
    if len(family) < 2:
        return
    targets = (
        list(family) if split == "train" else random.sample(list(family), min(QUERIES_A_FAMILY, len(family)))
    )
    for target in targets:
        others = [picture for picture in family if picture is not target]
        random.shuffle(others)
        reference = min(others[:3], key=lambda other: len(differences(other.garment, target.garment)) > 3)
        yield Query(
            reference=reference.image,
            target=target.image,
            captions=relative_captions(reference.garment, target.garment, random),
            family=f"{split}-{category}-{number}",
            members=[picture.image for picture in family],
        )


def _render_chunk(folder: Path, seed: int, pictures: Sequence[Picture]) -> int:
    for picture in pictures:
        content = as_png(render(picture.garment, Random(f"{seed}/{picture.image}")))
        _write(folder / "images" / f"{picture.image}.png", content)
    return len(pictures)


def _write_annotations(folder: Path, wardrobe: Wardrobe) -> None:
    sets: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for (split, category), queries in wardrobe.queries.items():
        triplets = [{"target": q.target, "candidate": q.reference, "captions": q.captions} for q in queries]
        gallery = [p.image for p in wardrobe.pictures if (p.split, p.category) == (split, category)]
        _write_json(folder / "captions" / f"cap.{category}.{split}.json", triplets)
        _write_json(folder / "image_splits" / f"split.{category}.{split}.json", gallery)
        if split != "train":
            sets.setdefault(split, {})[category] = [
                {"set_id": q.family, "members": q.members} for q in queries
            ]
    _write_json(folder / "image_sets.json", sets)
    attributes = pl.DataFrame(
        [{"image": p.image, "split": p.split, **p.garment.attributes()} for p in wardrobe.pictures]
    )
    beside = folder / ".attributes.parquet"
    attributes.write_parquet(beside)
    beside.replace(folder / "attributes.parquet")


def _write_json(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    _write(file, json.dumps(content, indent=4).encode())


def _write(file: Path, content: bytes) -> None:
    beside = file.with_name(f".{file.name}")
    beside.write_bytes(content)
    beside.replace(file)


def _read_plan(folder: Path) -> Any:
    try:
        return json.loads((folder / PLAN).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
