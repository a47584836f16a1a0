"""Shoes in a local folder: relative captions between pictures of the Attribute Discovery data set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cir_assets.datasets.annotation_files import picture_id, read_list, read_text, text_at
from cir_assets.datasets.captions import caption_issues
from cir_assets.datasets.dataset_source import InOneFolder, local
from cir_assets.datasets.locating import located
from cir_assets.datasets.tables import (
    DATA_ISSUES,
    GALLERIES,
    PICTURES,
    TRIPLETS,
    Annotations,
    BrokenAnnotations,
    frame,
    issue,
)
from cir_assets.datasets.triplet_rows import gallery_rows, triplet_row, with_known_pictures

CAPTIONS = "relative_captions_shoes.json"
NAMES = {"train": "train_im_names.txt", "val": "eval_im_names.txt"}
"""Our splits and the lists of their pictures; what Shoes calls eval is val here, as it also chooses the epoch."""


class ShoesSource(InOneFolder):
    """Shoes: relative_captions_shoes.json, {train,eval}_im_names.txt, and the pictures in womens_*/<n>/<name>.jpg."""

    holds = f"{CAPTIONS} and {' and '.join(NAMES.values())}"

    kind: Literal["shoes"]
    folder: str = Field(
        description=f"Folder that holds {CAPTIONS} and {' and '.join(NAMES.values())}.", min_length=1
    )
    pictures: str | None = Field(
        default=None, description="Folder of the pictures, in folders below it or not; none: the folder."
    )

    def read(self, folder: Path) -> Annotations:
        """Read the annotations where they are."""
        return read_shoes(local(self.folder), pictures=self.picture_root(folder))


def read_shoes(folder: Path, *, pictures: Path | None = None) -> Annotations:
    """Read Shoes in the common form.

    ``train_im_names.txt`` and ``eval_im_names.txt`` name a picture a line and are the galleries of train and val,
    in file order; ``relative_captions_shoes.json`` holds the triplets of both, whose id is their row from 0. A triplet
    belongs to the split of its pictures. A picture's id is its name without ``.jpg``; its file is found by its
    name, in whatever folder it lies (see ``located``).

    Rules: a triplet between the two splits is dropped (``mixed_splits``), and one with a picture of neither
    (``unknown_picture``); if none is left the files are refused. One whose target is its reference ("is identical")
    is told (``reference_is_target``): it is trained on, and not ranked, as the reference is left out. A picture in
    both lists is refused. The captions of single pictures (``captions_shoes.json``) are no part of a query and not
    read.

    Args:
        folder: holds the annotations.
        pictures: the folder of pictures; None: ``folder``.

    Raises:
        BrokenAnnotations: naming file, line or entry, what was expected and how to mend it.
    """
    pictures = folder if pictures is None else pictures
    names = {split: _names(folder / file) for split, file in NAMES.items()}
    split_of = {image: split for split, images in names.items() for image in images}
    if both := sorted(set(names["train"]) & set(names["val"])):
        raise BrokenAnnotations(
            f"{folder / NAMES['train']} and {NAMES['val']} both name {both[0]}.jpg ({len(both):,} in all); the two "
            "lists must have nothing in common, fetch them again"
        )
    captions = folder / CAPTIONS
    known, issues = with_known_pictures(
        _triplets(captions, split_of), split_of, captions, " or ".join(NAMES.values())
    )
    triplets: list[dict[str, Any]] = []
    for triplet in known:
        target_split = split_of[triplet["target"]]
        subject = f"{triplet['split']}/{triplet['triplet_id']}"
        if target_split != triplet["split"]:
            detail = f"the reference is in {triplet['split']}, the target in {target_split}; triplet dropped"
            issues.append(issue("mixed_splits", subject, detail))
            continue
        triplets.append(triplet)
        if triplet["reference"] == triplet["target"]:
            detail = f"both are {triplet['target']} ({triplet['captions'][0]!r}); kept, but not ranked"
            issues.append(issue("reference_is_target", subject, detail))
    table = frame(TRIPLETS, triplets)
    paths, told = located(pictures, {image: f"{image}.jpg" for image in split_of})
    return Annotations(
        pictures=frame(PICTURES, ({"image": image, "path": path} for image, path in paths.items())),
        galleries=frame(
            GALLERIES, (row for split, images in names.items() for row in gallery_rows(split, images))
        ),
        triplets=table,
        issues=frame(DATA_ISSUES, [*issues, *told, *caption_issues(table)]),
        picture_root=pictures,
    )


def _names(file: Path) -> list[str]:
    """Pictures of a list without their ending, in file order; blank lines are passed over."""
    lines = [(number, line.strip()) for number, line in enumerate(read_text(file).splitlines(), start=1)]
    images = [_image(line, f"{file}, line {number}") for number, line in lines if line]
    if not images:
        raise BrokenAnnotations(
            f"{file} names no picture; expected a line a picture, such as img_womens_boots_7.jpg"
        )
    twice = [image for image, count in Counter(images).items() if count > 1]
    if twice:
        raise BrokenAnnotations(f"{file}: {twice[0]}.jpg stands there twice; remove one of them")
    return images


def _triplets(file: Path, split_of: dict[str, str]) -> list[dict[str, Any]]:
    triplets = []
    for entry, row in enumerate(read_list(file)):
        where = f"{file}, entry {entry}"
        reference, target = (
            _image(text_at(row, key, where), f"{where}, {key!r}")
            for key in ("ReferenceImageName", "ImageName")
        )
        caption = text_at(row, "RelativeCaption", where)
        triplets.append(
            triplet_row(str(entry), split_of.get(reference, "train"), reference, target, [caption])
        )
    return triplets


def _image(name: str, where: str) -> str:
    return picture_id(name.removesuffix(".jpg"), where)
