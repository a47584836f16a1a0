"""CIRCO in a local folder: queries on COCO 2017's unlabelled pictures, with several true targets each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cir_assets.datasets.annotation_files import (
    is_number,
    number_at,
    read_list,
    read_object,
    shown,
    text_at,
)
from cir_assets.datasets.captions import caption_issues
from cir_assets.datasets.dataset_source import DatasetSource, TestServer, local, require_folder
from cir_assets.datasets.locating import ENDINGS, located
from cir_assets.datasets.tables import (
    DATA_ISSUES,
    GALLERIES,
    NO_CATEGORY,
    PICTURES,
    TRIPLETS,
    Annotations,
    BrokenAnnotations,
    frame,
)

DIGITS = 12
"""Of a picture's file name: its number with leading zeros."""

INDEX = "image_info_unlabeled2017.json"
"""COCO's own list of its unlabelled pictures; with it missing pictures are known."""


class CIRCOSource(DatasetSource):
    """CIRCO in a local folder: annotations/{val,test}.json and COCO's pictures in unlabeled2017/."""

    test_server = TestServer("circo", "https://circo.micc.unifi.it/")

    kind: Literal["circo"]
    folder: str = Field(description="Folder that holds annotations/.", min_length=1)
    pictures: str | None = Field(
        default=None,
        description=(
            "Folder of COCO 2017's unlabelled pictures; none: unlabeled2017/ or "
            "COCO2017_unlabeled/unlabeled2017/ in the folder."
        ),
    )

    def require_files(self) -> None:
        """See that the folder is there."""
        require_folder(self.folder, "source.folder", "annotations/ and unlabeled2017/")

    def picture_root(self, folder: Path) -> Path:
        """The folder of pictures, named or found."""
        return picture_folder(local(self.folder)) if self.pictures is None else local(self.pictures)

    def read(self, folder: Path) -> Annotations:
        """Read the annotations where they are."""
        return read_circo(local(self.folder), pictures=self.picture_root(folder))


def picture_folder(folder: Path) -> Path:
    """Where COCO's pictures lie if nobody says: in COCO2017_unlabeled/ where that is there, else in the folder."""
    nested = folder / "COCO2017_unlabeled" / "unlabeled2017"
    return nested if nested.is_dir() else folder / "unlabeled2017"


def read_circo(folder: Path, *, pictures: Path | None = None) -> Annotations:
    """Read CIRCO in the common form.

    ``annotations/val.json`` and ``test.json`` hold the queries, whose ids count from 0 in each split. The
    relative caption is read as it stands; the ``shared_concept`` is kept for the protocol that reads it too.
    ``target`` is ``target_img_id`` and ``further_targets`` the rest of ``gt_img_ids``; test keeps both secret (null and
    empty). Pictures go by their COCO number as text, without leading zeros, and lie in the folder of
    pictures as twelve digits and .jpg (or .jpeg, .png, or in a folder below; see ``located``).

    The gallery of both splits is the whole collection by ascending number: what
    ``image_info_unlabeled2017.json`` lists (in annotations/ or beside the folder of pictures, in the place
    COCO's archive puts it), or without that file the pictures in the folder and those the queries name. It is
    an evaluation set: there is no train.

    Args:
        folder: holds annotations/.
        pictures: the folder of pictures; None: unlabeled2017/ or COCO2017_unlabeled/unlabeled2017/.

    Raises:
        BrokenAnnotations: naming file, entry, what was expected and how to mend it.
    """
    if pictures is None:
        pictures = picture_folder(folder)
    files = {split: folder / "annotations" / f"{split}.json" for split in ("val", "test")}
    split_files = {split: file for split, file in files.items() if file.is_file()}
    if not split_files:
        raise BrokenAnnotations(f"{folder / 'annotations'} holds neither val.json nor test.json of CIRCO")
    triplets = [triplet for split, file in split_files.items() for triplet in _triplets(file, split)]
    named = {
        image
        for triplet in triplets
        for image in (triplet["reference"], triplet["target"], *triplet["further_targets"])
        if image is not None
    }
    places = (folder / "annotations", pictures.parent / "annotations", pictures.parent)
    index = next((place / INDEX for place in places if (place / INDEX).is_file()), None)
    if index is not None:
        listed = _listed(index)
        if named - listed:
            raise BrokenAnnotations(
                f"{index} does not list picture {min(named - listed, key=int)}, which CIRCO names; it must "
                "be COCO 2017's list of unlabelled pictures"
            )
    else:
        listed = named | _in_folder(pictures)
    gallery = sorted(listed, key=int)
    paths, issues = located(pictures, {image: f"{int(image):0{DIGITS}d}.jpg" for image in gallery})
    table = frame(TRIPLETS, triplets)
    return Annotations(
        pictures=frame(PICTURES, ({"image": image, "path": path} for image, path in paths.items())),
        galleries=frame(
            GALLERIES,
            (
                {"split": split, "category": NO_CATEGORY, "position": position, "image": image}
                for split in split_files
                for position, image in enumerate(gallery)
            ),
        ),
        triplets=table,
        issues=frame(DATA_ISSUES, [*issues, *caption_issues(table)]),
        picture_root=pictures,
    )


def _triplets(file: Path, split: str) -> Iterator[dict[str, Any]]:
    ids: set[int] = set()
    for entry, row in enumerate(read_list(file)):
        where = f"{file}, entry {entry}"
        query = number_at(row, "id", where)
        if query in ids:
            raise BrokenAnnotations(f"{where}: id {query} stands there twice; remove one of them")
        ids.add(query)
        target: str | None = None
        further: list[str] = []
        if split == "val" or "target_img_id" in row:
            target = str(number_at(row, "target_img_id", where))
            truths = row.get("gt_img_ids")
            if not isinstance(truths, list) or not all(map(is_number, truths)):
                raise BrokenAnnotations(
                    f"{where}: expected a list of numbers under 'gt_img_ids', found {shown(truths)}"
                )
            further = [str(truth) for truth in truths if str(truth) != target]
        yield {
            "triplet_id": str(query),
            "split": split,
            "category": NO_CATEGORY,
            "reference": str(number_at(row, "reference_img_id", where)),
            "target": target,
            "captions": [text_at(row, "relative_caption", where)],
            "further_targets": further,
            "shared_concept": text_at(row, "shared_concept", where) if "shared_concept" in row else None,
        }


def _listed(index: Path) -> set[str]:
    images = read_object(index).get("images")
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise BrokenAnnotations(f"{index}: expected a list of objects under 'images'")
    return {str(number_at(image, "id", f"{index}, images, entry {n}")) for n, image in enumerate(images)}


def _in_folder(pictures: Path) -> set[str]:
    try:
        files = [entry for entry in pictures.iterdir() if entry.suffix.lower() in ENDINGS]
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise BrokenAnnotations(f"{pictures} cannot be listed ({error.strerror})") from error
    stems = (file.stem for file in files)
    return {str(int(stem)) for stem in stems if len(stem) == DIGITS and stem.isascii() and stem.isdecimal()}
