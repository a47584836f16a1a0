"""FashionIQ, local or fetched, and its layout on disk, which the wardrobe shares."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import polars as pl
from pydantic import Field, model_validator

from cir_assets.datasets.annotation_files import id_at, picture_id, read_json, read_list, read_object, shown
from cir_assets.datasets.captions import caption_issues, without_placeholders
from cir_assets.datasets.dataset_source import DatasetSource, local, require_folder
from cir_assets.datasets.fashioniq_fetching import (
    CATEGORIES,
    FashionIQFetch,
    fetch_annotations,
    fetch_named_pictures,
)
from cir_assets.datasets.fetching import FetchReport
from cir_assets.datasets.locating import ENDINGS, located, readable
from cir_assets.datasets.tables import (
    DATA_ISSUES,
    GALLERIES,
    PICTURES,
    SPLITS,
    TRIPLETS,
    Annotations,
    BrokenAnnotations,
    frame,
    issue,
    named_pictures,
    overlap_issues,
)
from cir_assets.engines.progress import ProgressFactory, terminal_progress


class FashionIQSource(DatasetSource):
    """FashionIQ in a local folder (captions/, image_splits/, images/<ASIN>.jpg, .jpeg or .png), or fetched."""

    kind: Literal["fashioniq"]
    folder: str | None = Field(
        default=None, description="Folder that holds captions/, image_splits/ and images/.", min_length=1
    )
    fetch: FashionIQFetch | None = Field(
        default=None, description="Where it is fetched from, into storage/raw/, where there is no folder."
    )
    leave_out_leaked_train_pictures: bool = Field(
        default=False, description="Leave out of train what is in val or test of another category."
    )
    leave_out_placeholder_captions: bool = Field(
        default=False,
        description="Train without captions that are empty or say nothing ('n/a'); evaluation keeps them.",
    )

    @model_validator(mode="after")
    def _comes_from_one_place(self) -> Self:
        if (self.folder is None) == (self.fetch is None):
            raise ValueError(
                "name folder, where the data set lies, or fetch, where it is to be had; one of the two"
            )
        return self

    def require_files(self) -> None:
        """See that the folder is there."""
        require_folder(str(self.folder), "source.folder", "captions/, image_splits/ and images/")

    def prepare(self, folder: Path, progress: ProgressFactory = terminal_progress) -> FetchReport | None:
        """Fetch it into ``folder``, or see that it is where the YAML says."""
        if self.fetch is None:
            return super().prepare(folder, progress)
        fetch_annotations(self.fetch, folder, progress)
        named = read_fashioniq(folder).pictures["image"].to_list()
        return fetch_named_pictures(self.fetch, folder, named, progress)

    def picture_root(self, folder: Path) -> Path:
        """``images/`` beside the annotations."""
        return picture_folder(self._home(folder))

    def read(self, folder: Path) -> Annotations:
        """Read the annotations where they are."""
        return read_fashioniq(
            self._home(folder),
            leave_out_leaked_train_pictures=self.leave_out_leaked_train_pictures,
            leave_out_placeholder_captions=self.leave_out_placeholder_captions,
        )

    def _home(self, folder: Path) -> Path:
        return folder if self.folder is None else local(self.folder)


def picture_folder(folder: Path) -> Path:
    """Where FashionIQ's layout has its pictures."""
    return folder / "images"


@dataclass(frozen=True)
class _SplitFile:
    split: str
    category: str
    images: list[str]
    triplets: list[dict[str, Any]]


def read_fashioniq(
    folder: Path,
    *,
    leave_out_leaked_train_pictures: bool = False,
    leave_out_placeholder_captions: bool = False,
) -> Annotations:
    """Read a folder in FashionIQ's layout in the common form.

    ``image_splits/split.<category>.<split>.json`` is the gallery, in file order; ``captions/cap.<category>.
    <split>.json`` its triplets, which get the ids ``<category>-<split>-<row from 0>``; ``image_sets.json``,
    which the wardrobe adds, names the look-alikes of each triplet. Categories and splits are those that have
    a split file. A test file without targets (FashionIQ's own) gives triplets whose target is null.

    Rules; what they meet is told in ``issues``:

    - Captions that are empty or say nothing ("n/a", ".", "2") are kept, as in the published figures
      (``empty_caption``, ``placeholder_caption``). With ``leave_out_placeholder_captions`` a train triplet
      keeps only its other caption.
    - A picture in train of one category and in val or test of another is reported as
      ``cross_split_leakage``; one in val and in test as ``val_test_overlap``. With
      ``leave_out_leaked_train_pictures`` the former leave the train galleries, and the train triplets that
      use them fall (``leaked_train_triplet``).
    - A triplet whose picture is not in its split list is dropped (``unknown_picture``); when all of a file
      are, the files do not belong together and are refused.
    - Files of other names beside these (people's extended captions, cleaned splits, backups) are passed over and
      told (``unknown_file``).
    - Pictures are looked for as ``images/<id>.jpg``, ``.jpeg`` or ``.png``, then in any folder below ``images/``
      (see ``located``); one that is not there stays in ``pictures`` and is reported by the scan. Several ids may
      share one picture: each is ranked, and a tie goes to the one earlier in the gallery.

    Raises:
        BrokenAnnotations: naming file, place, what was expected and how to mend it.
    """
    issues: list[dict[str, str]] = []
    files = list(_read_files(folder, issues))
    for file in files:
        issues += _drop_unknown(file, folder)
    galleries = frame(
        GALLERIES,
        (
            {"split": file.split, "category": file.category, "position": position, "image": image}
            for file in files
            for position, image in enumerate(file.images)
        ),
    )
    triplets = frame(TRIPLETS, (triplet for file in files for triplet in file.triplets))
    issues += caption_issues(triplets)
    issues += overlap_issues(galleries)
    if leave_out_leaked_train_pictures:
        galleries, triplets, fallen = _without_leaked(galleries, triplets)
        issues += fallen
    if leave_out_placeholder_captions:
        triplets = frame(
            TRIPLETS,
            (
                {**row, "captions": without_placeholders(row["captions"])} if row["split"] == "train" else row
                for row in triplets.iter_rows(named=True)
            ),
        )
    root = picture_folder(folder)
    named = named_pictures(galleries, triplets)
    paths, told = located(root, {image: f"{image}{ENDINGS[0]}" for image in named})
    issues += told
    return Annotations(
        pictures=frame(PICTURES, ({"image": image, "path": path} for image, path in paths.items())),
        galleries=galleries,
        triplets=triplets,
        issues=frame(DATA_ISSUES, issues),
        picture_root=root,
    )


def _read_files(folder: Path, issues: list[dict[str, str]]) -> Iterator[_SplitFile]:
    galleries = _named_files(folder, "image_splits", "split", issues)
    captioned = _named_files(folder, "captions", "cap", issues)
    categories = {category for category, _ in galleries}
    for category, split in sorted(captioned - galleries):
        name = f"{category}.{split}.json"
        gallery = f"no image_splits/split.{name} beside it, the gallery its queries are ranked in"
        if galleries and category not in {*CATEGORIES, *categories}:
            issues.append(issue("unknown_file", f"captions/cap.{name}", f"not read: it has {gallery}"))
            continue
        raise BrokenAnnotations(
            f"{folder / 'captions' / f'cap.{name}'} has {gallery}; put that file there too"
        )
    if not galleries:
        strangers = [told["subject"] for told in issues]
        raise BrokenAnnotations(
            f"{folder / 'image_splits'} holds no gallery: expected the name split.<category>.<{'|'.join(SPLITS)}>.json"
            + (f", found {strangers[0]}" if strangers else "")
            + f"; {folder} is not in FashionIQ's layout (captions/, image_splits/, images/)"
        )
    sets = _image_sets(folder / "image_sets.json")
    for category, split in sorted(galleries, key=lambda each: (SPLITS.index(each[1]), each[0])):
        images = _gallery(folder / "image_splits" / f"split.{category}.{split}.json")
        triplets: list[dict[str, Any]] = []
        if (category, split) in captioned:
            captions = folder / "captions" / f"cap.{category}.{split}.json"
            triplets = list(_triplets(captions, category, split, sets.get(split, {}).get(category)))
        yield _SplitFile(split, category, images, triplets)


def _named_files(folder: Path, within: str, kind: str, issues: list[dict[str, str]]) -> set[tuple[str, str]]:
    """Category and split of each ``<kind>.<category>.<split>.json``; any other file is passed over and told.

    People keep extended captions and cleaned splits beside the originals, and systems files of their own.
    """
    try:
        names = sorted(entry.name for entry in (folder / within).iterdir())
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise BrokenAnnotations(f"{folder / within} cannot be listed ({error.strerror})") from error
    found: set[tuple[str, str]] = set()
    for name in names:
        parts = re.fullmatch(rf"{kind}\.([^.]+)\.({'|'.join(SPLITS)})\.json", name)
        if parts is None or readable(name) != name:
            expected = f"{kind}.<category>.<{'|'.join(SPLITS)}>.json"
            issues.append(
                issue("unknown_file", f"{within}/{readable(name)}", f"not read: its name is not {expected}")
            )
        else:
            found.add((parts[1], parts[2]))
    return found


def _gallery(file: Path) -> list[str]:
    content = read_json(file)
    if not isinstance(content, list):
        raise BrokenAnnotations(f"{file}: expected a list of picture ids, found {type(content).__name__}")
    images = [picture_id(value, f"{file}, entry {entry}") for entry, value in enumerate(content)]
    twice = [image for image, count in Counter(images).items() if count > 1]
    if twice:
        raise BrokenAnnotations(f"{file}: {twice[0]!r} stands in the list twice; remove one of them")
    return images


def _triplets(
    file: Path, category: str, split: str, sets: list[dict[str, Any]] | None
) -> Iterator[dict[str, Any]]:
    rows = read_list(file)
    if sets is not None and len(sets) != len(rows):
        raise BrokenAnnotations(
            f"{file} has {len(rows)} triplets, but image_sets.json has {len(sets)} sets; they must match"
        )
    for entry, row in enumerate(rows):
        where = f"{file}, entry {entry}"
        captions = row.get("captions")
        if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
            raise BrokenAnnotations(
                f"{where}: expected a list of two texts under 'captions', found {shown(captions)}"
            )
        if len(captions) != 2:
            raise BrokenAnnotations(
                f"{where}: expected two captions, found {len(captions)}: {shown(captions)}"
            )
        if split != "test" and "target" not in row:
            raise BrokenAnnotations(f"{where}: expected a picture's id under 'target'; only test has none")
        yield {
            "triplet_id": f"{category}-{split}-{entry}",
            "split": split,
            "category": category,
            "reference": id_at(row, "candidate", where),
            "target": id_at(row, "target", where) if "target" in row else None,
            "captions": captions,
            "further_targets": [],
            "set_id": None if sets is None else sets[entry]["set_id"],
            "set_members": None if sets is None else sets[entry]["members"],
        }


def _image_sets(file: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Split -> category -> one {"set_id", "members"} a triplet; nothing where there is no such file."""
    if not file.is_file():
        return {}
    content = read_object(file)
    for split, categories in content.items():
        for category, sets in categories.items() if isinstance(categories, dict) else [("", None)]:
            where = f"{file}, {shown(split)}, {shown(category)}"
            if not isinstance(sets, list):
                raise BrokenAnnotations(f"{where}: expected a list of sets, one a triplet")
            for entry, image_set in enumerate(sets):
                well = isinstance(image_set, dict) and isinstance(image_set.get("set_id"), str)
                if not well or not isinstance(image_set.get("members"), list):
                    raise BrokenAnnotations(
                        f"{where}, entry {entry}: expected {{'set_id': text, 'members': [ids]}}, "
                        f"found {shown(image_set)}"
                    )
                for member in image_set["members"]:
                    picture_id(member, f"{where}, entry {entry}, 'members'")
    return content


def _drop_unknown(file: _SplitFile, folder: Path) -> Iterator[dict[str, str]]:
    """Drop from ``file.triplets`` what names a picture outside the split's list; yield an issue for each."""
    gallery_images = set(file.images)
    kept: list[dict[str, Any]] = []
    dropped: list[dict[str, str]] = []
    for triplet in file.triplets:
        named = [triplet["reference"], triplet["target"], *(triplet["set_members"] or [])]
        unknown = sorted({image for image in named if image is not None and image not in gallery_images})
        if unknown:
            dropped.append(
                issue(
                    "unknown_picture",
                    f"{triplet['split']}/{triplet['triplet_id']}",
                    f"{', '.join(unknown)} not in split.{file.category}.{file.split}.json; triplet dropped",
                )
            )
        else:
            kept.append(triplet)
    if dropped and not kept:
        name = f"{file.category}.{file.split}.json"
        raise BrokenAnnotations(
            f"{folder}/captions/cap.{name}: none of its {len(dropped)} triplets has its pictures in "
            f"image_splits/split.{name}; the two files do not belong together, fetch both again"
        )
    file.triplets[:] = kept
    yield from dropped


def _without_leaked(
    galleries: pl.DataFrame, triplets: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, list[dict[str, str]]]:
    """Return the tables without evaluated pictures in train, and an issue for each triplet that falls."""
    evaluated = galleries.filter(pl.col("split") != "train")["image"].unique().implode()
    train = pl.col("split") == "train"
    leaks = train & (pl.col("reference").is_in(evaluated) | pl.col("target").is_in(evaluated))
    leaked = triplets.filter(leaks)
    positions = pl.int_range(pl.len(), dtype=pl.Int32).over("split", "category")
    fallen = [
        issue(
            "leaked_train_triplet", f"train/{triplet}", f"{reference} or {target} is in val or test; dropped"
        )
        for triplet, reference, target in leaked.select("triplet_id", "reference", "target").iter_rows()
    ]
    return (
        galleries.filter(~(train & pl.col("image").is_in(evaluated))).with_columns(position=positions),
        triplets.join(
            leaked.select("split", "triplet_id"),
            on=["split", "triplet_id"],
            how="anti",
            maintain_order="left",
        ),
        fallen,
    )
