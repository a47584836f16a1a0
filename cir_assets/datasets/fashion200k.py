"""Fashion200k in a local folder: product pictures, and queries between descriptions that differ in one word."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field

from cir_assets.datasets.annotation_files import LONGEST_ID, read_text, shown
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

LABELS = re.compile(r"([a-z]+)_(train|test)_detect_all\.txt")
SPLITS = {"train": "train", "test": "val"}
"""Fashion200k's splits and ours; its test is val here, as it also chooses the epoch."""

QUERIES = "test_queries.txt"


class Fashion200kSource(InOneFolder):
    """Fashion200k: labels/<category>_{train,test}_detect_all.txt, test_queries.txt, and the pictures in women/."""

    holds = f"labels/, {QUERIES} and women/"

    kind: Literal["fashion200k"]
    folder: str = Field(
        description=f"Folder that holds labels/, {QUERIES} of TIRG, and women/.", min_length=1
    )
    pictures: str | None = Field(default=None, description="Folder that holds women/; none: the folder.")
    seed: int = Field(
        default=0, ge=0, description="Draws the target of each train picture among those a word away."
    )

    def read(self, folder: Path) -> Annotations:
        """Read the annotations where they are."""
        return read_fashion200k(local(self.folder), pictures=self.picture_root(folder), seed=self.seed)


def read_fashion200k(folder: Path, *, pictures: Path | None = None, seed: int = 0) -> Annotations:
    """Read Fashion200k in the common form, with the queries TIRG made of it (Vo et al., CVPR 2019).

    ``labels/<category>_<train|test>_detect_all.txt`` has a line a picture: path, detection score, description, parted
    by tabs. All categories are one gallery a split, by file name and line. ``test_queries.txt`` has a line a query,
    its id the row from 0: the reference's path and the target's. The relative caption is made of their descriptions,
    ``replace <word> with <word>`` (see ``changed_word``), and every picture of the split with the target's very
    description is right (``further_targets``). A picture's id is its path.

    Train has no triplets of its own: TIRG draws them while it trains. Here each train picture whose description has a
    neighbour, one that is the same without one word, is the reference of one triplet, its target drawn from ``seed``.

    Rules: a query with a picture no label names is dropped (``unknown_picture``), and so is one whose two descriptions
    are the same (``same_description``); a picture that two lines name counts once, as the first says
    (``repeated_row``). Without ``test_queries.txt`` val has no triplet (``missing_captions``).

    Args:
        folder: holds labels/ and test_queries.txt.
        pictures: holds women/; None: ``folder``.
        seed: of the train triplets.

    Raises:
        BrokenAnnotations: naming file, line, what was expected and how to mend it.
    """
    pictures = folder if pictures is None else pictures
    issues: list[dict[str, str]] = []
    described = _descriptions(folder / "labels", issues)
    triplets = list(_train_triplets(described["train"], random.Random(seed)))
    queries = folder / QUERIES
    if queries.is_file():
        found, told = _queries(queries, described["val"])
        triplets += found
        issues += told
    else:
        issues.append(issue("missing_captions", "val", f"no {QUERIES}: no triplet in val"))
    table = frame(TRIPLETS, triplets)
    named = [image for images in described.values() for image in images]
    paths, told = located(pictures, {image: image for image in named})
    return Annotations(
        pictures=frame(PICTURES, ({"image": image, "path": path} for image, path in paths.items())),
        galleries=frame(
            GALLERIES, (row for split, images in described.items() for row in gallery_rows(split, images))
        ),
        triplets=table,
        issues=frame(DATA_ISSUES, [*issues, *told, *caption_issues(table)]),
        picture_root=pictures,
    )


def changed_word(reference: str, target: str) -> tuple[str, str]:
    """The word of each description that the other lacks, as TIRG's ``get_different_word`` finds it.

    Where one lacks nothing the last word of it stands, though it did not change: of "black dress" and "black lace
    dress" it is ("dress", "lace"). The published queries say so, so these do.

    Raises:
        ValueError: a description has no words.
    """
    old, new = reference.split(), target.split()
    if not old or not new:
        raise ValueError("a description has no words")
    return _missing_word(old, new), _missing_word(new, old)


def _missing_word(words: Sequence[str], others: Sequence[str]) -> str:
    return next((word for word in words if word not in others), words[-1])


def _relative_caption(reference: str, target: str) -> str:
    old, new = changed_word(reference, target)
    return f"replace {old} with {new}"


def _descriptions(labels: Path, issues: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    """Our split -> picture -> description."""
    try:
        files = sorted(entry for entry in labels.iterdir() if LABELS.fullmatch(entry.name))
    except OSError as error:
        raise BrokenAnnotations(
            f"{labels} cannot be listed ({error.strerror}); put Fashion200k's labels there"
        ) from error
    if not files:
        raise BrokenAnnotations(f"{labels} holds no <category>_<train|test>_detect_all.txt of Fashion200k")
    described: dict[str, dict[str, str]] = {split: {} for split in SPLITS.values()}
    split_of: dict[str, str] = {}
    for file in files:
        name = LABELS.fullmatch(file.name)
        assert name is not None
        split = SPLITS[name[2]]
        for number, line in enumerate(read_text(file).splitlines(), start=1):
            if not line.strip():
                continue
            where = f"{file}, line {number}"
            cells = line.split("\t")
            if len(cells) != 3 or not cells[2].strip():
                raise BrokenAnnotations(
                    f"{where}: expected path, score and description parted by tabs, found {shown(line)}"
                )
            image, description = _image(cells[0], where), " ".join(cells[2].split())
            if image in split_of:
                detail = f"{file.name}, line {number}: it stands in {split_of[image]} before; counted there"
                issues.append(issue("repeated_row", image, detail))
                continue
            split_of[image] = split
            described[split][image] = description
    return {split: images for split, images in described.items() if images}


def _image(path: str, where: str) -> str:
    parts = PurePosixPath(path).parts
    if (
        not path
        or PurePosixPath(path).is_absolute()
        or ".." in parts
        or "\0" in path
        or len(parts[-1].encode(errors="replace")) > LONGEST_ID
    ):
        raise BrokenAnnotations(
            f"{where}: expected a picture's path such as women/dresses/…, found {shown(path)}"
        )
    return PurePosixPath(path).as_posix()


def _queries(file: Path, described: dict[str, str]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    pairs: list[dict[str, Any]] = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        paths = line.split()
        if len(paths) != 2:
            raise BrokenAnnotations(f"{where}: expected two paths, reference and target, found {shown(line)}")
        reference, target = (_image(path, where) for path in paths)
        pairs.append(triplet_row(str(len(pairs)), "val", reference, target, []))
    kept, issues = with_known_pictures(pairs, described, file, "labels/*_test_detect_all.txt")
    alike: dict[str, list[str]] = {}
    for image, description in described.items():
        alike.setdefault(description, []).append(image)
    triplets = []
    for triplet in kept:
        old, new = described[triplet["reference"]], described[triplet["target"]]
        if old == new:
            detail = f"reference and target are both {old!r}; query dropped"
            issues.append(issue("same_description", f"val/{triplet['triplet_id']}", detail))
            continue
        others = [image for image in alike[new] if image != triplet["target"]]
        triplets.append({**triplet, "captions": [_relative_caption(old, new)], "further_targets": others})
    return triplets, issues


def _train_triplets(described: dict[str, str], drawn: random.Random) -> Iterator[dict[str, Any]]:
    """One triplet a picture whose description has a neighbour: one that is the same but for one word."""
    pictures: dict[str, list[str]] = {}
    for image, description in described.items():
        pictures.setdefault(description, []).append(image)
    by_rest: dict[str, list[str]] = {}
    for description in pictures:
        for rest in _without_a_word(description):
            by_rest.setdefault(rest, []).append(description)
    shared = {
        description: [rest for rest in _without_a_word(description) if len(by_rest[rest]) > 1]
        for description in pictures
    }
    for number, (image, description) in enumerate(described.items()):
        if not shared[description]:
            continue
        neighbours = [each for each in by_rest[drawn.choice(shared[description])] if each != description]
        other = drawn.choice(neighbours)
        target = drawn.choice(pictures[other])
        yield triplet_row(str(number), "train", image, target, [_relative_caption(description, other)])


def _without_a_word(description: str) -> list[str]:
    words = description.split()
    return list(dict.fromkeys(" ".join([*words[:place], *words[place + 1 :]]) for place in range(len(words))))
