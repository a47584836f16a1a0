"""GeneCIS in a local folder: four tasks, each query with fifteen candidates of its own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cir_assets.datasets.annotation_files import is_number, number_at, read_list, shown, text_at
from cir_assets.datasets.captions import caption_issues
from cir_assets.datasets.dataset_source import DatasetSource, local, require_folder
from cir_assets.datasets.fetching import FetchReport
from cir_assets.datasets.genecis_boxes import Box
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
from cir_assets.datasets.triplet_rows import gallery_rows, triplet_row
from cir_assets.engines.progress import ProgressFactory, terminal_progress

OBJECT_TASKS = ("focus_object", "change_object")
"""On whole pictures of COCO 2017's val."""

ATTRIBUTE_TASKS = ("focus_attribute", "change_attribute")
"""On boxes cut out of Visual Genome's pictures."""

TASKS = (*ATTRIBUTE_TASKS, *OBJECT_TASKS)

COCO, CROPS = "val2017", "crops"
"""Below the folder of pictures that is made where attribute tasks are read: COCO's, by a link, and the boxes."""


class GeneCISSource(DatasetSource):
    """GeneCIS: {focus,change}_{object,attribute}.json, COCO's val2017/, and Visual Genome's pictures for attributes."""

    kind: Literal["genecis"]
    folder: str = Field(
        description="Folder that holds the tasks' JSON files, itself or in genecis/.", min_length=1
    )
    pictures: str | None = Field(
        default=None, description="Folder of COCO 2017's val pictures; none: val2017/ in the folder."
    )
    visual_genome: str | None = Field(
        default=None,
        description=(
            "Folder of Visual Genome 1.2's pictures, in folders below it or not, for the attribute tasks; none: "
            "visual_genome/ in the folder."
        ),
    )

    def require_files(self) -> None:
        """See that the folder is there."""
        require_folder(
            self.folder, "source.folder", f"{', '.join(f'{task}.json' for task in TASKS)}, or some of them"
        )

    def prepare(self, folder: Path, progress: ProgressFactory = terminal_progress) -> FetchReport | None:
        """See that the files are there; the boxes of attribute tasks are cut out into ``folder``."""
        if self._has_attributes:
            # Cutting takes Pillow; settings load without it.
            from cir_assets.datasets.genecis_crops import cut_boxes, link_folder

            self.require_files()
            root = self.picture_root(folder)
            link_folder(root / COCO, self._coco)
            cut_boxes(read_boxes(self._home), self._visual_genome, root / CROPS, progress)
        return super().prepare(folder, progress)

    def picture_root(self, folder: Path) -> Path:
        """COCO's folder; where there are attribute tasks the one that ``prepare`` makes of both."""
        return folder / "pictures" if self._has_attributes else self._coco

    def read(self, folder: Path) -> Annotations:
        """Read the annotations where they are."""
        below = f"{COCO}/" if self._has_attributes else ""
        return read_genecis(self._home, pictures=self.picture_root(folder), coco_below=below)

    @property
    def _home(self) -> Path:
        nested = local(self.folder) / "genecis"
        return nested if any((nested / f"{task}.json").is_file() for task in TASKS) else local(self.folder)

    @property
    def _coco(self) -> Path:
        return local(self.folder) / COCO if self.pictures is None else local(self.pictures)

    @property
    def _visual_genome(self) -> Path:
        return (
            local(self.folder) / "visual_genome" if self.visual_genome is None else local(self.visual_genome)
        )

    @property
    def _has_attributes(self) -> bool:
        return any((self._home / f"{task}.json").is_file() for task in ATTRIBUTE_TASKS)


def read_genecis(folder: Path, *, pictures: Path, coco_below: str = "") -> Annotations:
    """Read GeneCIS in the common form.

    A task is a category, ``<task>.json`` its queries, whose ids are ``<task>-<row from 0>``. All of it is val: there is
    one set of queries, which is published and chooses. The relative caption is ``condition``, a word or two; the
    candidates, ``target`` first and then ``gallery`` in file order, are the query's set, in which alone it is ranked;
    a task's gallery is all its candidates. Pictures of COCO go by their number as text; a box of Visual Genome goes by
    ``vg-<number>_<left>_<top>_<width>_<height>``.

    Rules, as the benchmark's own code has them: a row whose gallery is not as long as most of its task's is dropped
    (``odd_gallery``). A gallery that holds the target itself, or a picture twice, is ranked without that copy
    (``target_in_gallery``, ``repeated_candidate``), and one that holds the reference without it
    (``reference_in_gallery``).

    Args:
        folder: holds the JSON files of some of the tasks.
        pictures: the folder of pictures.
        coco_below: where COCO's lie below it, with ``/`` at its end.

    Raises:
        BrokenAnnotations: naming file, entry, what was expected and how to mend it.
    """
    files = {task: folder / f"{task}.json" for task in TASKS}
    files = {task: file for task, file in files.items() if file.is_file()}
    if not files:
        old = next((task for task in TASKS if (folder / f"{task}.pkl").is_file()), None)
        said = f"; {old}.pkl is of an older version, which is not read" if old else ""
        raise BrokenAnnotations(
            f"{folder} holds no task of GeneCIS ({', '.join(f'{task}.json' for task in TASKS)}){said}; fetch them"
        )
    expected: dict[str, str] = {}
    triplets: list[dict[str, Any]] = []
    galleries: list[dict[str, str | int]] = []
    issues: list[dict[str, str]] = []
    for task, file in files.items():
        queries = list(_queries(file, task))
        [(usual, _)] = Counter(len(query.gallery) for query in queries).most_common(1) or [(0, 0)]
        candidates: set[str] = set()
        for entry, query in enumerate(queries):
            name = f"{task}-{entry}"
            if len(query.gallery) != usual:
                detail = f"{len(query.gallery)} pictures in its gallery, {usual} in most of {file.name}; row dropped"
                issues.append(issue("odd_gallery", f"val/{name}", detail))
                continue
            issues += (issue(kind, f"val/{name}", detail) for kind, detail in _odd_candidates(query))
            members = list(dict.fromkeys([query.target, *query.gallery]))
            candidates.update(members)
            triplets.append(
                triplet_row(
                    name,
                    "val",
                    query.reference,
                    query.target,
                    [query.condition],
                    category=task,
                    set_members=members,
                )
            )
        galleries += gallery_rows("val", sorted(candidates, key=_by_number), task)
        for query in queries:
            for image in (query.reference, query.target, *query.gallery):
                expected[image] = (
                    f"{CROPS}/{image}.png"
                    if image.startswith("vg-")
                    else f"{coco_below}{int(image):012d}.jpg"
                )
    table = frame(TRIPLETS, triplets)
    paths, told = located(pictures, dict(sorted(expected.items(), key=lambda item: _by_number(item[0]))))
    return Annotations(
        pictures=frame(PICTURES, ({"image": image, "path": path} for image, path in paths.items())),
        galleries=frame(GALLERIES, galleries),
        triplets=table,
        issues=frame(DATA_ISSUES, [*issues, *told, *caption_issues(table)]),
        picture_root=pictures,
    )


def read_boxes(folder: Path) -> list[Box]:
    """Every box that the attribute tasks name, each once.

    Raises:
        BrokenAnnotations: as ``read_genecis``.
    """
    boxes: dict[Box, None] = {}
    for task in ATTRIBUTE_TASKS:
        file = folder / f"{task}.json"
        for entry, row in enumerate(read_list(file) if file.is_file() else ()):
            boxes |= {_box(each, where): None for each, where in _named(row, f"{file}, entry {entry}")}
    return list(boxes)


@dataclass(frozen=True)
class _Query:
    condition: str
    reference: str
    target: str
    gallery: list[str]


def _queries(file: Path, task: str) -> Iterator[_Query]:
    for entry, row in enumerate(read_list(file)):
        where = f"{file}, entry {entry}"
        condition = text_at(row, "condition", where)
        reference, target, *gallery = (
            _box(each, place).image
            if task in ATTRIBUTE_TASKS
            else str(number_at(each, "val_image_id", place))
            for each, place in _named(row, where)
        )
        yield _Query(condition, reference, target, gallery)


def _odd_candidates(query: _Query) -> Iterator[tuple[str, str]]:
    """What is odd about a query's candidates: the kind of issue, and what became of it."""
    if query.target in query.gallery:
        yield "target_in_gallery", f"its gallery holds the target {query.target} too; ranked once"
    if len(set(query.gallery)) < len(query.gallery):
        yield "repeated_candidate", "its gallery holds a picture twice; ranked once"
    if query.reference in (query.target, *query.gallery):
        yield "reference_in_gallery", f"its candidates hold the reference {query.reference}; left out"


def _named(row: dict[str, Any], where: str) -> Iterator[tuple[dict[str, Any], str]]:
    """What names a picture in a row, and where it stands: the reference, the target, then the gallery."""
    gallery = row.get("gallery")
    if not isinstance(gallery, list) or not gallery:
        raise BrokenAnnotations(
            f"{where}: expected a list of pictures under 'gallery', found {shown(gallery)}"
        )
    places = [("'reference'", row.get("reference")), ("'target'", row.get("target"))]
    places += [(f"'gallery', entry {number}", each) for number, each in enumerate(gallery)]
    for place, each in places:
        if not isinstance(each, dict):
            raise BrokenAnnotations(
                f"{where}, {place}: expected an object that names a picture, found {shown(each)}"
            )
        yield each, f"{where}, {place}"


def _box(named: dict[str, Any], where: str) -> Box:
    picture, sides = named.get("image_id"), named.get("instance_bbox")
    # Some write the number as text.
    if isinstance(picture, str) and picture.isascii() and picture.isdecimal():
        picture = int(picture)
    if not is_number(picture):
        raise BrokenAnnotations(
            f"{where}: expected the number of Visual Genome's picture under 'image_id', found {shown(picture)}"
        )
    if (
        not isinstance(sides, list)
        or len(sides) != 4
        or not all(isinstance(side, int | float) and math.isfinite(side) for side in sides)
        or min(sides[2:]) <= 0
    ):
        raise BrokenAnnotations(
            f"{where}: expected [left, top, width, height] in pixels under 'instance_bbox', found {shown(sides)}"
        )
    return Box(str(picture), *map(float, sides))


def _by_number(image: str) -> tuple[bool, int, str]:
    """COCO's by number, then boxes by their picture's."""
    of_genome = image.startswith("vg-")
    return of_genome, int(image.removeprefix("vg-").partition("_")[0]), image
