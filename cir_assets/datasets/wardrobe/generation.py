"""The whole wardrobe from a seed: families of look-alikes, triplets in them, files in FashionIQ's layout."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cir_assets.datasets.wardrobe.drawing import as_png, render
from cir_assets.datasets.wardrobe.garments import (
    CATEGORIES,
    Garment,
    differences,
    random_garment,
    varied,
    visible,
)
from cir_assets.datasets.wardrobe.language import describe, relative_captions
from cir_assets.engines.cores import granted_cores
from cir_assets.engines.progress import ProgressFactory, terminal_progress
from cir_assets.store.files import write_one_of_many

SPLITS = ("train", "val", "test")
FAMILY = 6
"""Look-alikes in a family; a query's reference and target are of one family, CIRR's set of six."""

EVALUATED_PERCENT = 30
"""Share of a category's pictures in val, and the same in test."""

QUERIES_A_FAMILY = 2
"""Queries of each family in val and test, one for each anchor; in train every picture is a target once."""

CHANGES = {1: 25, 2: 42, 3: 33}
"""In how many attributes a target differs from its reference: number -> percent of the queries, about."""

SMALLEST, LARGEST = 60, 1_000_000
"""Bounds of a rendered wardrobe's number of pictures; fewer would leave val and test without a family."""

GENERATION = 2
"""Counted up whenever another garment, caption or pixel comes out of the same size and seed."""

PLAN = "plan.json"
CHUNK = 64
TRIES = 40


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
    Every target of val and test has hard distractors in its gallery: pictures with just one attribute off.

    Args:
        size: number of pictures, any from 1 on (a rendering wants at least ``SMALLEST``).
        seed: every choice follows from it and from ``size``.
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
            shown = random.sample(family, len(family))  # so that a place in the gallery tells nothing
            found += _queries(split, category, number, family, shown, random)
            pictures += shown
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

    - ``images/<id>.png``: RGB, 96 x 128 pixels.
    - ``image_splits/split.<category>.<split>.json``: the gallery, a list of ids.
    - ``captions/cap.<category>.<split>.json``: triplets as {"target", "candidate", "captions": [a, b]}; test
      has its targets too.
    - ``image_sets.json``: {split: {category: [{"set_id", "reference", "target", "members": six ids}]}} for
      val and test, one entry a triplet in the order of its caption file.
    - ``attributes.parquet``: image, split, category and every attribute.
    - ``plan.json``: size, seed and whether all of it is there.

    A rendering that was broken off goes on where it stopped, and pictures that were taken away come back; a
    wardrobe of another size or seed is replaced. Every file is written beside and then renamed.

    Args:
        folder: made where it is not there.
        size: number of pictures, 60 to 1,000,000.
        seed: the same size and seed give the same bytes on every machine.
        progress: where it is told how many pictures are there.
        workers: processes that draw; None takes one a granted core, and 1 draws in this process.

    Raises:
        ValueError: ``size`` is out of bounds.
        FileExistsError: ``folder`` holds pictures that are no wardrobe's; they are left alone.
    """
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"a wardrobe has {SMALLEST} to {LARGEST:,} pictures, not {size:,}")
    plan = {"size": size, "seed": seed, "generation": GENERATION}
    images = folder / "images"
    plan_on_disk = _read_plan(folder)
    names_on_disk = {entry.name for entry in os.scandir(images)} if images.is_dir() else set()
    if plan_on_disk is None and names_on_disk:
        raise FileExistsError(
            f"{images} holds {len(names_on_disk):,} files but {folder / PLAN} is not there, so they are no "
            "wardrobe's; name an empty folder, or take them away"
        )
    if plan_on_disk == {**plan, "complete": True} and len(names_on_disk) == size:
        return
    if plan_on_disk is not None and {**plan_on_disk, "complete": None} != {**plan, "complete": None}:
        for name in ("images", "captions", "image_splits"):
            shutil.rmtree(folder / name, ignore_errors=True)
        names_on_disk = set()
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / PLAN, json.dumps({**plan, "complete": False}).encode())
    images.mkdir(exist_ok=True)
    wardrobe = plan_wardrobe(size, seed)
    _write_annotations(folder, wardrobe)
    missing = [p for p in wardrobe.pictures if f"{p.image}.png" not in names_on_disk]
    with progress("render pictures", len(wardrobe.pictures), "pictures") as bar:
        bar.advance(len(wardrobe.pictures) - len(missing))
        chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
        workers = granted_cores() if workers is None else workers
        if workers <= 1 or len(chunks) <= 1:
            for chunk in chunks:
                bar.advance(_render_chunk(folder, seed, chunk))
        else:
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                for count in pool.map(_render_chunk, [folder] * len(chunks), [seed] * len(chunks), chunks):
                    bar.advance(count)
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
        evaluated = total * EVALUATED_PERCENT // (100 * FAMILY) * FAMILY
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


def _family(category: str, size: int, seen: set[tuple[Any, ...]], random: Random) -> list[Garment]:
    """Look-alikes none of which is in the gallery yet; the first two are its anchors.

    The anchors differ in one or two attributes; each of the others is just one attribute off an anchor, in
    turn, so that each anchor has its hard distractors.
    """
    while True:
        family: list[Garment] = []
        taken: set[tuple[Any, ...]] = set()
        for _ in range(TRIES * size):
            place = len(family)
            if place == 0:
                garment = random_garment(category, random)
            elif place == 1:
                garment = varied(family[0], 1 if random.random() < 0.3 else 2, random)
            else:
                garment = varied(family[place % 2], 1, random)
            if (look := visible(garment)) not in seen and look not in taken:
                family.append(garment)
                taken.add(visible(garment))
            if len(family) == size:
                seen |= taken
                return family
        # In a large gallery all that is near a common garment can be taken: begin with another.


def _apart(first: Picture, second: Picture) -> int:
    return len(differences(first.garment, second.garment))


def _queries(
    split: str,
    category: str,
    number: int,
    family: Sequence[Picture],
    shown: Sequence[Picture],
    random: Random,
) -> Iterator[Query]:
    """Triplets of a family (anchors first), whose set lists its members in the order ``shown``."""
    if len(family) < 2:
        return
    members = [picture.image for picture in shown]
    for target in family if split == "train" else family[:QUERIES_A_FAMILY]:
        others = [picture for picture in family if picture is not target]
        random.shuffle(others)
        changes = random.choices(list(CHANGES), list(CHANGES.values()))[0]
        reference = min(others, key=lambda other: abs(_apart(other, target) - changes))
        yield Query(
            reference=reference.image,
            target=target.image,
            captions=relative_captions(reference.garment, target.garment, random),
            family=f"{split}-{category}-{number}",
            members=members,
        )


def _render_chunk(folder: Path, seed: int, pictures: Sequence[Picture]) -> int:
    for picture in pictures:
        content = as_png(render(picture.garment, Random(f"{seed}/{picture.image}")))
        _write(folder / "images" / f"{picture.image}.png", content)
    return len(pictures)


def _write_annotations(folder: Path, wardrobe: Wardrobe) -> None:
    import polars as pl  # here: the drawing processes do without it

    sets: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for (split, category), queries in wardrobe.queries.items():
        triplets = [{"target": q.target, "candidate": q.reference, "captions": q.captions} for q in queries]
        gallery = [p.image for p in wardrobe.pictures if (p.split, p.category) == (split, category)]
        _write_json(folder / "captions" / f"cap.{category}.{split}.json", triplets)
        _write_json(folder / "image_splits" / f"split.{category}.{split}.json", gallery)
        if split != "train":
            sets.setdefault(split, {})[category] = [
                {"set_id": q.family, "reference": q.reference, "target": q.target, "members": q.members}
                for q in queries
            ]
    _write_json(folder / "image_sets.json", sets)
    names = [field.name for field in fields(Garment)]
    columns: dict[str, list[Any]] = {
        "image": [p.image for p in wardrobe.pictures],
        "split": [p.split for p in wardrobe.pictures],
        **{name: [getattr(p.garment, name) for p in wardrobe.pictures] for name in names},
    }
    content = io.BytesIO()
    pl.DataFrame(columns).write_parquet(content)
    _write(folder / "attributes.parquet", content.getvalue())


def _write_json(file: Path, content: Any) -> None:
    _write(file, json.dumps(content, indent=4).encode())


def _write(file: Path, content: bytes) -> None:
    with write_one_of_many(file) as beside:
        beside.write_bytes(content)


def _read_plan(folder: Path) -> Any:
    try:
        return json.loads((folder / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError:
        return {}  # of a wardrobe, but of none that can be gone on with
