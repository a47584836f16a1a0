"""LaSCo in a local folder: queries made of VQA 2.0's questions, on COCO 2014's pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cir_assets.datasets.annotation_files import is_number, number_at, read_list, shown, text_at
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
)
from cir_assets.datasets.triplet_rows import gallery_rows, triplet_row, with_known_pictures

SPLITS = ("train", "val")

PICTURE = re.compile(r"(?:[\w.-]+/)*((?:train|val)2014/COCO_(?:train|val)2014_(\d{12})\.jpg)")
"""A path as LaSCo writes them; the corpus has val/val2014/…, the queries val2014/…: what is before is passed over."""


class LaSCoSource(InOneFolder):
    """LaSCo: lasco_{train,val}.json, lasco_{train,val}_corpus.json, and COCO's train2014/ and val2014/."""

    holds = "lasco_train.json, lasco_val.json and lasco_val_corpus.json"

    kind: Literal["lasco"]
    folder: str = Field(
        description="Folder that holds lasco_train.json, lasco_val.json and lasco_val_corpus.json.",
        min_length=1,
    )
    pictures: str | None = Field(
        default=None,
        description="Folder that holds train2014/ and val2014/; none: coco/ in the folder, or it.",
    )

    def picture_root(self, folder: Path) -> Path:
        """The folder of pictures, named or found."""
        if self.pictures is not None:
            return local(self.pictures)
        home = local(self.folder)
        return home / "coco" if (home / "coco").is_dir() else home

    def read(self, folder: Path) -> Annotations:
        """Read the annotations where they are."""
        return read_lasco(local(self.folder), pictures=self.picture_root(folder))


def read_lasco(folder: Path, *, pictures: Path | None = None) -> Annotations:
    """Read LaSCo in the common form.

    ``lasco_<split>.json`` holds the triplets, whose id is their ``qid``, made one of a kind by ``-2``, ``-3``, … where
    it stands there again (a question of VQA gives several). ``lasco_<split>_corpus.json`` is the gallery, by ascending
    number. Without the corpus of train its gallery is what its triplets name; that of val is needed, as its 39,826
    pictures are more than its queries name. Pictures go by their COCO number as text.

    Rules: a triplet with a picture outside its split's corpus is dropped (``unknown_picture``); if all of a file are,
    it is refused.

    Args:
        folder: holds the annotations.
        pictures: holds train2014/ and val2014/; None: ``folder``.

    Raises:
        BrokenAnnotations: naming file, entry, what was expected and how to mend it.
    """
    pictures = folder if pictures is None else pictures
    paths: dict[str, str] = {}
    triplets: list[dict[str, Any]] = []
    galleries: list[dict[str, str | int]] = []
    issues: list[dict[str, str]] = []
    for split in SPLITS:
        queries, corpus = folder / f"lasco_{split}.json", folder / f"lasco_{split}_corpus.json"
        if not queries.is_file():
            continue
        named, found = _triplets(queries, split)
        if corpus.is_file():
            listed = dict(_corpus(corpus))
        elif split == "val":
            raise BrokenAnnotations(f"{queries} needs its gallery {corpus.name}; put that file beside it")
        else:
            listed = named
        kept, dropped = with_known_pictures(found, listed, queries, corpus.name)
        triplets += kept
        issues += dropped
        paths |= listed
        galleries += gallery_rows(split, sorted(listed, key=int))
    if not galleries:
        raise BrokenAnnotations(
            f"{folder} holds neither lasco_train.json nor lasco_val.json; put LaSCo's files there"
        )
    table = frame(TRIPLETS, triplets)
    places, told = located(pictures, paths)
    return Annotations(
        pictures=frame(PICTURES, ({"image": image, "path": path} for image, path in places.items())),
        galleries=frame(GALLERIES, galleries),
        triplets=table,
        issues=frame(DATA_ISSUES, [*issues, *told, *caption_issues(table)]),
        picture_root=pictures,
    )


def _triplets(file: Path, split: str) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Number -> path of every picture a file names, and its triplets."""
    named: dict[str, str] = {}
    triplets: list[dict[str, Any]] = []
    times: dict[int, int] = {}
    for entry, row in enumerate(read_list(file)):
        where = f"{file}, entry {entry}"
        question = number_at(row, "qid", where)
        times[question] = times.get(question, 0) + 1
        images = []
        for key in ("query-image", "target-image"):
            value = row.get(key)
            if not (isinstance(value, list) and len(value) == 2 and is_number(value[0])):
                raise BrokenAnnotations(
                    f"{where}: expected [number, path] under {key!r}, found {shown(value)}"
                )
            image = str(value[0])
            named[image] = _path(value[1], value[0], f"{where}, {key!r}")
            images.append(image)
        name = f"{question}-{times[question]}" if times[question] > 1 else str(question)
        triplets.append(triplet_row(name, split, images[0], images[1], [text_at(row, "query-text", where)]))
    return named, triplets


def _corpus(file: Path) -> Iterator[tuple[str, str]]:
    for entry, row in enumerate(read_list(file)):
        where = f"{file}, entry {entry}"
        number = number_at(row, "id", where)
        yield str(number), _path(row.get("path"), number, where)


def _path(value: Any, number: int, where: str) -> str:
    """The path below the folder of pictures, held against the picture's number."""
    match = PICTURE.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[2]) != number:
        raise BrokenAnnotations(
            f"{where}: expected the path of COCO 2014's picture {number}, such as "
            f"val2014/COCO_val2014_{number:012d}.jpg, found {shown(value)}"
        )
    return match[1]
