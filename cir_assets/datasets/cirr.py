"""CIRR (rc2) in a local folder: captions with image sets, splits, and NLVR2's pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field

from cir_assets.datasets.annotation_files import (
    id_at,
    number_at,
    picture_id,
    read_json,
    read_list,
    read_object,
    shown,
    text_at,
)
from cir_assets.datasets.captions import caption_issues
from cir_assets.datasets.dataset_source import DatasetSource, TestServer, local, require_folder
from cir_assets.datasets.locating import located
from cir_assets.datasets.tables import (
    DATA_ISSUES,
    GALLERIES,
    NO_CATEGORY,
    PICTURES,
    TRIPLETS,
    Annotations,
    BrokenAnnotations,
    frame,
    issue,
)

FILES = {"train": "train", "val": "val", "test": "test1"}
"""Our splits and what CIRR's files call them; pictures of val are named dev-."""


class CIRRSource(DatasetSource):
    """CIRR in a local folder: captions/, image_splits/ and NLVR2's pictures in img_raw/{train,dev,test1}/."""

    test_server = TestServer("cirr", "https://cirr.cecs.anu.edu.au/test_process/")

    kind: Literal["cirr"]
    folder: str = Field(
        description="Folder that holds captions/ and image_splits/, itself or in cirr/.", min_length=1
    )
    pictures: str | None = Field(
        default=None,
        description="Folder that holds train/, dev/ and test1/; none: img_raw/ in the folder, or the folder.",
    )
    train_captions: str | None = Field(
        default=None,
        description=(
            "File of train triplets, CIRR's own or DQU-CIR's; none: captions/cap.rc2.train.json, "
            "where it is there."
        ),
    )

    def require_files(self) -> None:
        """See that the folder is there."""
        require_folder(self.folder, "source.folder", "captions/, image_splits/ and img_raw/")

    def picture_root(self, folder: Path) -> Path:
        """The folder of pictures, named or found."""
        return picture_folder(local(self.folder)) if self.pictures is None else local(self.pictures)

    def read(self, folder: Path) -> Annotations:
        """Read the annotations where they are."""
        return read_cirr(
            local(self.folder),
            pictures=self.picture_root(folder),
            train_captions=None if self.train_captions is None else local(self.train_captions),
        )


def picture_folder(folder: Path) -> Path:
    """Where CIRR's pictures lie if nobody says: img_raw/ in the folder where it is there, else the folder."""
    return folder / "img_raw" if (folder / "img_raw").is_dir() else folder


def read_cirr(
    folder: Path, *, pictures: Path | None = None, train_captions: Path | None = None
) -> Annotations:
    """Read CIRR in the common form.

    ``image_splits/split.rc2.<split>.json`` maps names to paths and is the gallery, in file order;
    ``captions/cap.rc2.<split>.json`` the triplets, whose id is their ``pairid``. The target is
    ``target_hard``; ``target_soft`` and the ranks of the image set contradict it at places and are not read.
    Split test is CIRR's test1, whose targets are secret (null).

    The train triplets come from ``train_captions``, or from ``captions/cap.rc2.train.json``; where there is
    neither, train has a gallery and no triplet (``missing_captions``). DQU-CIR's file, ``{"<reference>+
    <target>": [caption, keywords]}``, is read too: its captions are CIRR's own, its keywords (a language
    model's) are ignored, it has no image sets, and the key serves as the triplet's id.

    A picture that is not where its split file says is found by its name: under another ending, or in NLVR2's own
    folders (see ``located``).

    Rules: a triplet with a picture outside its split is dropped (``unknown_picture``); if all of a file are,
    it is refused. Empty captions are kept and reported.

    Args:
        folder: holds captions/ and image_splits/, itself or in cirr/.
        pictures: holds train/, dev/ and test1/; None: img_raw/ in the folder where it is there, else the
            folder.
        train_captions: a file of train triplets.

    Raises:
        BrokenAnnotations: naming file, entry, what was expected and how to mend it.
    """
    home = folder / "cirr" if (folder / "cirr" / "image_splits").is_dir() else folder
    if pictures is None:
        pictures = picture_folder(folder)
    paths: dict[str, str] = {}
    galleries: list[dict[str, Any]] = []
    triplets: list[dict[str, Any]] = []
    issues: list[dict[str, str]] = []
    for split, theirs in FILES.items():
        split_file = home / "image_splits" / f"split.rc2.{theirs}.json"
        captions = home / "captions" / f"cap.rc2.{theirs}.json"
        if split == "train" and train_captions is not None:
            captions = train_captions
        if not split_file.is_file():
            if captions.is_file():
                raise BrokenAnnotations(f"{captions} needs its gallery {split_file}; put that file there too")
            continue
        gallery = _gallery(split_file)
        paths |= gallery
        galleries += (
            {"split": split, "category": NO_CATEGORY, "position": position, "image": image}
            for position, image in enumerate(gallery)
        )
        if not captions.is_file():
            if captions == train_captions:
                raise BrokenAnnotations(f"{captions} is not there; correct source.train_captions in the YAML")
            issues.append(
                issue("missing_captions", split, f"no captions/{captions.name}: no triplet in {split}")
            )
            continue
        kept, dropped = _known_triplets(list(_triplets(captions, split)), gallery, captions, split_file)
        triplets += kept
        issues += dropped
    if not galleries:
        raise BrokenAnnotations(
            f"{home / 'image_splits'} holds no split.rc2.<{'|'.join(FILES.values())}>.json: expected "
            "captions/ and image_splits/ of CIRR there"
        )
    table = frame(TRIPLETS, triplets)
    found, told = located(pictures, paths)
    issues += told
    return Annotations(
        pictures=frame(PICTURES, ({"image": image, "path": path} for image, path in found.items())),
        galleries=frame(GALLERIES, galleries),
        triplets=table,
        issues=frame(DATA_ISSUES, [*issues, *caption_issues(table)]),
        picture_root=pictures,
    )


def _gallery(file: Path) -> dict[str, str]:
    """Name -> posix path below the folder of pictures, in file order."""
    gallery: dict[str, str] = {}
    for image, value in read_object(file).items():
        where = f"{file}, {shown(image)}"
        picture_id(image, where)
        path = PurePosixPath(value) if isinstance(value, str) else PurePosixPath("..")
        if path.is_absolute() or ".." in path.parts or path.stem != image or "\0" in str(path):
            raise BrokenAnnotations(
                f"{where}: expected a path below the folder of pictures to <name>.png, found {shown(value)}"
            )
        gallery[image] = path.as_posix()
    return gallery


def _triplets(file: Path, split: str) -> Iterator[dict[str, Any]]:
    if split == "train" and isinstance(read_json(file), dict):
        yield from _keyed_triplets(file)
        return
    for entry, row in enumerate(read_list(file)):
        where = f"{file}, entry {entry}"
        image_set = row.get("img_set")
        if not isinstance(image_set, dict):
            raise BrokenAnnotations(f"{where}: expected an object under 'img_set', found {shown(image_set)}")
        members = image_set.get("members")
        if not isinstance(members, list) or not members:
            raise BrokenAnnotations(f"{where}, 'img_set': expected a list of names under 'members'")
        for member in members:
            picture_id(member, f"{where}, 'img_set', 'members'")
        reference = id_at(row, "reference", where)
        target = id_at(row, "target_hard", where) if split != "test" or "target_hard" in row else None
        for role, image in (("reference", reference), ("target_hard", target)):
            if image is not None and image not in members:
                raise BrokenAnnotations(
                    f"{where}: the {role} {image} is not among the members of its image set"
                )
        yield _triplet(
            str(number_at(row, "pairid", where)),
            split,
            reference,
            target,
            text_at(row, "caption", where),
            str(number_at(image_set, "id", f"{where}, 'img_set'")),
            members,
        )


def _keyed_triplets(file: Path) -> Iterator[dict[str, Any]]:
    for key, value in read_object(file).items():
        where = f"{file}, {shown(key)}"
        reference, plus, target = key.partition("+")
        if not plus or not isinstance(value, list) or not value or not isinstance(value[0], str):
            raise BrokenAnnotations(
                f'{where}: expected "<reference>+<target>": [caption, …], found {shown(value)}'
            )
        yield _triplet(
            key, "train", picture_id(reference, where), picture_id(target, where), value[0], None, None
        )


def _triplet(
    triplet_id: str,
    split: str,
    reference: str,
    target: str | None,
    caption: str,
    set_id: str | None,
    members: list[str] | None,
) -> dict[str, Any]:
    return {
        "triplet_id": triplet_id,
        "split": split,
        "category": NO_CATEGORY,
        "reference": reference,
        "target": target,
        "captions": [caption],
        "further_targets": [],
        "set_id": set_id,
        "set_members": members,
    }


def _known_triplets(
    triplets: list[dict[str, Any]], gallery: dict[str, str], file: Path, split_file: Path
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Those whose pictures are all in the gallery, and an issue for each that is dropped."""
    kept: list[dict[str, Any]] = []
    dropped: list[dict[str, str]] = []
    ids: set[str] = set()
    for triplet in triplets:
        name = triplet["triplet_id"]
        if name in ids:
            raise BrokenAnnotations(f"{file}: pairid {name} stands there twice; remove one of them")
        ids.add(name)
        named = [triplet["reference"], triplet["target"], *(triplet["set_members"] or [])]
        unknown = sorted({image for image in named if image is not None and image not in gallery})
        if unknown:
            detail = f"{', '.join(unknown)} not in {split_file.name}; triplet dropped"
            dropped.append(issue("unknown_picture", f"{triplet['split']}/{name}", detail))
        else:
            kept.append(triplet)
    if dropped and not kept:
        raise BrokenAnnotations(
            f"{file}: none of its {len(dropped)} triplets has its pictures in {split_file}; the two files do "
            "not belong together, fetch both again"
        )
    return kept, dropped
