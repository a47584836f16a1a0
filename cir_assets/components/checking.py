"""What would go wrong later with a data set's YAML, told in a second and without making anything."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from cir_assets.components.mistakes import told
from cir_assets.components.specification import BackbonesSpec, DatasetSpec
from cir_assets.datasets.catalogue_source import CatalogueSource
from cir_assets.datasets.dataset_source import local
from cir_assets.datasets.tables import BrokenAnnotations
from cir_assets.models.settings import ReferenceCheckpoints
from cir_assets.models.stages import COMBINER, TEXT_ENCODER
from cir_assets.pictures.opening import ENDINGS
from cir_assets.retrieval.protocols import PROTOCOLS
from cir_assets.training.settings import Recipe

if TYPE_CHECKING:
    import polars as pl

WORTH_TRAINING_ON = 1_000
"""Triplets of train; on fewer, models trained elsewhere were better wherever it was tried."""

SAYS_SOMETHING = 100
"""Queries; the 95 % interval of a half is then 20 points wide."""

SHOWN = 5
"""Rows of a table that are named."""


@dataclass(frozen=True)
class Remark:
    """What a check found: ``wrong`` where something would fail, else a piece of advice."""

    wrong: bool
    said: str


def check_file(file: Path, backbones: Path) -> Iterator[Remark]:
    """Check a data set's YAML, and a catalogue's table and picture names; no picture is opened.

    Args:
        file: the YAML.
        backbones: the YAML that defines the backbones.
    """
    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), yaml.SafeLoader)
    except yaml.YAMLError as error:
        yield Remark(True, f"{file}: no YAML that can be read: {' '.join(str(error).split())}")
        return
    content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("attributes"), dict):
        yield Remark(
            True, f"{file}: expected type: cir_assets.components.dataset.Dataset and attributes: with keys"
        )
        return
    lines = {keys[1:]: f"{file}:{line}" for keys, line in _lines(node, ()) if keys[:1] == ("attributes",)}
    try:
        spec = DatasetSpec.model_validate(content["attributes"])
    except ValidationError as error:
        yield from (Remark(True, sentence) for sentence in told(error, DatasetSpec, lines).splitlines())
        return
    defined = BackbonesSpec.model_validate(
        yaml.safe_load(backbones.read_text(encoding="utf-8"))["attributes"]
    )
    for name in spec.backbones:
        if name not in defined.backbones:
            yield Remark(
                True,
                f"{lines.get(('backbones',), file)}: backbones names {name!r}, which {backbones} does not define; it "
                f"defines {', '.join(defined.backbones)}",
            )
    yield from check_files(spec)


def check_files(spec: DatasetSpec) -> Iterator[Remark]:
    """Check what a data set is read from, and whether its recipes fit that."""
    source = spec.source
    try:
        source.require_files()
    except (FileNotFoundError, OSError) as error:
        yield Remark(True, str(error))
        return
    if not isinstance(source, CatalogueSource):
        return
    if "tiny_clip" in spec.backbones:
        yield Remark(
            False,
            "backbones: tiny_clip has seen rendered clothes alone; for photographs name clip_vit_b32, which is fetched "
            "on first use",
        )
    if source.triplets is not None:
        try:
            yield from check_table(spec, source)
        except BrokenAnnotations as error:
            yield Remark(True, str(error))


def check_table(spec: DatasetSpec, source: CatalogueSource) -> Iterator[Remark]:
    """Check a catalogue's table against the names of its pictures, its recipes and its protocols.

    Raises:
        BrokenAnnotations: when the table cannot be used, naming file and line.
    """
    from cir_assets.datasets.catalogue.names import PictureNames
    from cir_assets.datasets.catalogue.rows import usable_rows
    from cir_assets.datasets.catalogue.table import read_table

    assert source.triplets is not None
    table = local(source.triplets)
    names = picture_names(source)
    if not names:
        yield Remark(True, f"source.pictures {local(source.pictures)} holds no picture")
        return
    usable = usable_rows(read_table(table), PictureNames(names, local(source.pictures)))
    for kind, rows in usable.issues.group_by("kind", maintain_order=True):
        dropped = kind[0] in ("broken_row", "unknown_picture", "empty_caption", "reference_is_target")
        first = "; ".join(rows["detail"].head(SHOWN))
        more = f"; and {rows.height - SHOWN:,} more" if rows.height > SHOWN else ""
        yield Remark(dropped, f"{table}: {str(kind[0]).replace('_', ' ')}: {first}{more}")
    triplets = usable.rows.filter(usable.rows["captions"].list.len() > 0)
    counts = split_counts(triplets, source)
    yield Remark(
        False,
        f"{triplets.height:,} triplets over {len(names):,} pictures: "
        + ", ".join(
            f"{'' if triplets['split'].null_count() == 0 else 'about '}{n:,} {s}" for s, n in counts.items()
        ),
    )
    yield from check_counts(spec, counts, val_gallery(triplets, len(names), source))


def check_counts(spec: DatasetSpec, counts: Mapping[str, int], gallery: int) -> Iterator[Remark]:
    """Check whether there are enough triplets for the recipes, and queries and pictures for the figures.

    Args:
        spec: the data set's.
        counts: split -> triplets.
        gallery: pictures val is searched in, about.
    """
    train, val = counts.get("train", 0), counts.get("val", 0)
    trained = {name: recipe for name, recipe in spec.all_recipes.items() if isinstance(recipe, Recipe)}
    if trained and not train:
        yield Remark(
            True, "there is no triplet to train on: add rows of split train, or leave the column split out"
        )
    if not val and not all(isinstance(recipe, ReferenceCheckpoints) for recipe in spec.all_recipes.values()):
        yield Remark(True, "there is no val: nothing could choose the best epoch; add rows of split val")
    for name, recipe in trained.items():
        for stage in (TEXT_ENCODER, COMBINER):
            size = getattr(recipe, stage).batch_size
            if size > train:
                yield Remark(
                    True,
                    f"recipes.{name}.{stage}.batch_size is {size:,}, more than the {train:,} triplets of train: set it "
                    f"to at most {train:,}",
                )
    if trained and train < WORTH_TRAINING_ON:
        yield Remark(
            False,
            f"{train:,} triplets of train teach little; from some {WORTH_TRAINING_ON:,} on a training of one's own is "
            "worth it. Until then evaluate models of another data set (models_of), or search zero-shot",
        )
    if 0 < val < SAYS_SOMETHING:
        yield Remark(
            False, f"{val:,} queries of val decide little: intervals will be wide; {SAYS_SOMETHING} are few"
        )
    for protocol in spec.protocols:
        most = max((k for _, k in PROTOCOLS[protocol].headline), default=0)
        if val and most >= gallery:
            yield Remark(
                False,
                f"protocol {protocol} counts what is among the first {most}, and val is searched in about "
                f"{gallery:,} pictures: that is 100 by construction",
            )


def picture_names(source: CatalogueSource) -> list[str]:
    """The pictures of a catalogue by their paths, read off its folder or its archive's table of contents."""
    from cir_assets.datasets.catalogue.folder import pictures_and_issues

    place = local(source.pictures)
    if place.is_dir():
        table = None if source.triplets is None else local(source.triplets)
        return pictures_and_issues(place, table)[0]
    if zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as archive:
            members = [PurePosixPath(name) for name in archive.namelist()]
    else:
        import tarfile

        with tarfile.open(place) as unpacked:
            members = [PurePosixPath(member.name) for member in unpacked if member.isfile()]
    return sorted(str(member) for member in members if member.suffix.lower() in ENDINGS)


def split_counts(triplets: pl.DataFrame, source: CatalogueSource) -> dict[str, int]:
    """Triplets by split; where the table has none, about as many as the shares will give each."""
    if triplets["split"].null_count() == 0:
        return {split: triplets.filter(split=split).height for split in ("train", "val", "test")}
    val, test = (round(triplets.height * share) for share in (source.val_share, source.test_share))
    return {"train": triplets.height - val - test, "val": val, "test": test}


def val_gallery(triplets: pl.DataFrame, pictures: int, source: CatalogueSource) -> int:
    """About how many pictures val is searched in: those its triplets name, and half of those none names."""
    split = triplets["split"].null_count() == 0
    asked = triplets.filter(split="val") if split else triplets
    named = {image for column in ("reference", "target") for image in asked[column].drop_nulls()}
    everywhere = {image for column in ("reference", "target") for image in triplets[column].drop_nulls()}
    share = 1.0 if split else source.val_share
    return round(len(named) * share + (pictures - len(everywhere)) / 2)


def _lines(node: yaml.Node | None, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Keys and the line each stands in, from 1."""
    if node is None:
        return
    yield keys, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*keys, str(key.value)), key.start_mark.line + 1
            yield from (
                (below, line)
                for below, line in _lines(value, (*keys, str(key.value)))
                if len(below) > len(keys) + 1
            )
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            yield from _lines(value, (*keys, str(place)))
