"""The kinds of data set there are: what a YAML says of each, and the one way in to all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cir_assets.datasets.tables import Annotations
from cir_assets.progress import ProgressFactory, terminal_progress


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


if TYPE_CHECKING:
    from cir_assets.datasets.fetching import FetchReport

MANNER = ("connections", "requests_per_second", "attempts", "backoff_seconds", "timeout_seconds")
"""What of ``FashionIQFetch`` says how servers are asked, not where or what."""


class WardrobeSource(_Source):
    """The embedded data set: clothes rendered from a seed."""

    kind: Literal["wardrobe"]
    size: int = Field(default=15_000, ge=1_000, le=1_000_000, description="Pictures in all three categories.")
    seed: int = Field(default=7, ge=0, description="Decides every garment, pose and caption.")


class FashionIQFetch(_Source):
    """Where FashionIQ is fetched from: annotations, and pictures in one of three ways."""

    annotations: str = Field(
        description="Address of a folder that holds captions/ and image_splits/, or of a ZIP or TAR of them.",
        min_length=1,
    )
    check_annotations: bool = Field(
        default=True, description="Take only the published files, by their SHA-256; figures compare then."
    )
    categories: tuple[Literal["dress", "shirt", "toptee"], ...] = Field(
        default=("dress", "shirt", "toptee"), min_length=1, description="Categories fetched."
    )
    picture_lists: str | None = Field(
        default=None, description="Address of a folder that holds asin2url.<category>.txt."
    )
    picture_address: str | None = Field(
        default=None,
        description="Address of a picture, with {image} in place of its id.",
        pattern=r"\{image\}",
    )
    picture_archive: str | None = Field(
        default=None, description="Address of a ZIP or TAR of pictures named by id, in whatever folders."
    )
    picture_archive_sha256: str | None = Field(
        default=None, description="The archive's SHA-256 in hexadecimal.", pattern="^[0-9a-f]{64}$"
    )
    ask_dead_links_again: bool = Field(
        default=False, description="Ask addresses again that never gave a picture (404, a page, no picture)."
    )
    connections: int = Field(default=8, ge=1, le=64, description="Pictures fetched at the same time.")
    requests_per_second: float = Field(
        default=20.0, gt=0, le=1_000, description="Of all connections together."
    )
    attempts: int = Field(default=4, ge=1, le=20, description="Tries before a failure is taken as one.")
    backoff_seconds: float = Field(
        default=0.5, ge=0, le=60, description="Wait before the second try; doubles."
    )
    timeout_seconds: float = Field(default=20.0, gt=0, le=600, description="For connecting, and for silence.")

    @model_validator(mode="after")
    def _one_way_to_pictures(self) -> Self:
        ways = (self.picture_lists, self.picture_address, self.picture_archive)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("name one of picture_lists, picture_address and picture_archive")
        return self


class FashionIQSource(_Source):
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


class CIRRSource(_Source):
    """CIRR in a local folder: captions/, image_splits/ and NLVR2's pictures in img_raw/{train,dev,test1}/."""

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


class CIRCOSource(_Source):
    """CIRCO in a local folder: annotations/{val,test}.json and COCO's pictures in unlabeled2017/."""

    kind: Literal["circo"]
    folder: str = Field(description="Folder that holds annotations/.", min_length=1)
    pictures: str | None = Field(
        default=None,
        description=(
            "Folder of COCO 2017's unlabelled pictures; none: unlabeled2017/ or "
            "COCO2017_unlabeled/unlabeled2017/ in the folder."
        ),
    )


class CatalogueSource(_Source):
    """One's own pictures, with a table of triplets or without."""

    kind: Literal["catalogue"]
    pictures: str = Field(
        description="Folder of pictures; they are named by their path below it.", min_length=1
    )
    triplets: str | None = Field(
        default=None,
        description="CSV, TSV, JSONL, Parquet or .xlsx with reference, target, caption, and optionally more.",
    )
    val_share: float = Field(
        default=0.15, ge=0, lt=1, description="Share of val where the table has no split."
    )
    test_share: float = Field(
        default=0.15, ge=0, lt=1, description="Share of test where the table has no split."
    )
    seed: int = Field(default=0, ge=0, description="Decides the splits where the table has none.")

    @model_validator(mode="after")
    def _leaves_train_something(self) -> Self:
        if self.val_share + self.test_share >= 1:
            raise ValueError(
                f"val_share {self.val_share} and test_share {self.test_share} leave nothing to train on; "
                "together they must be below 1"
            )
        return self


Source = Annotated[
    WardrobeSource | FashionIQSource | CIRRSource | CIRCOSource | CatalogueSource, Field(discriminator="kind")
]


def prepare(
    source: Source, folder: Path, progress: ProgressFactory = terminal_progress
) -> FetchReport | None:
    """Make a data set's files ready: render or fetch them into ``folder``, or see that the local ones are there.

    Local files are read where they are; nothing is copied. Paths of a source may begin with ``~`` and are
    otherwise relative to the working folder.

    Args:
        source: what the YAML says.
        folder: where rendered and fetched files go (``storage/raw/<dataset>``).
        progress: where it is told how far it is.

    Returns:
        What a fetch gave; None where nothing was fetched.

    Raises:
        FetchFailed: what is needed cannot be fetched; what was is kept.
        FileNotFoundError: a local folder or table is absent, or none of the pictures named is there: naming
            it and what it must hold.
        BrokenAnnotations: the annotations cannot be read.
    """
    if isinstance(source, WardrobeSource):
        from cir_assets.datasets.wardrobe.generation import render_wardrobe

        render_wardrobe(folder, source.size, source.seed, progress)
        return None
    if isinstance(source, FashionIQSource) and source.fetch is not None:
        from cir_assets.datasets.fashioniq_fetching import Addresses, fetch_fashioniq
        from cir_assets.datasets.fetching import Politeness

        said = source.fetch.model_dump()
        manner = {name: said.pop(name) for name in MANNER}
        return fetch_fashioniq(Addresses(**said, politeness=Politeness(**manner)), folder, progress)
    if isinstance(source, CatalogueSource):
        _require_folder(source.pictures, "source.pictures", "the pictures of the catalogue")
        if source.triplets is not None and not _place(source.triplets).is_file():
            raise FileNotFoundError(
                f"source.triplets {_place(source.triplets)} is no file: name a CSV, TSV, JSONL, Parquet or "
                ".xlsx table, or leave the key out for a catalogue without triplets"
            )
    else:
        held = {
            "fashioniq": "captions/, image_splits/ and images/",
            "cirr": "captions/, image_splits/ and img_raw/",
            "circo": "annotations/ and unlabeled2017/",
        }
        _require_folder(str(source.folder), "source.folder", held[source.kind])
    annotations = read_annotations(source, folder)
    root = annotations.picture_root
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not there: put the pictures of this data set into it")
    if not any((root / path).is_file() for path in annotations.pictures["path"]):
        first = annotations.pictures["path"].head(1).to_list()
        raise FileNotFoundError(
            f"{root} holds none of the {annotations.pictures.height:,} pictures of this data set"
            + (f" (the first is {first[0]})" if first else "")
            + "; put them there, or name the right folder in the YAML"
        )
    return None


def read_annotations(source: Source, folder: Path) -> Annotations:
    """Read what a prepared data set's annotation files say, in the common form.

    Args:
        source: what the YAML says.
        folder: where ``prepare`` rendered files to; local data sets are read where they are, and a catalogue
            keeps there what it knows of its pictures' contents.

    Raises:
        BrokenAnnotations: when a file cannot be read, naming it, the place and the mend.
    """
    if isinstance(source, CatalogueSource):
        from cir_assets.datasets.catalogue import read_catalogue

        return read_catalogue(
            _place(source.pictures),
            None if source.triplets is None else _place(source.triplets),
            val_share=source.val_share,
            test_share=source.test_share,
            seed=source.seed,
            memory=folder / "content_keys.parquet",
        )
    if isinstance(source, CIRRSource):
        from cir_assets.datasets.cirr import read_cirr

        return read_cirr(
            _place(source.folder),
            pictures=None if source.pictures is None else _place(source.pictures),
            train_captions=None if source.train_captions is None else _place(source.train_captions),
        )
    if isinstance(source, CIRCOSource):
        from cir_assets.datasets.circo import read_circo

        return read_circo(
            _place(source.folder), pictures=None if source.pictures is None else _place(source.pictures)
        )
    from cir_assets.datasets.fashioniq import read_fashioniq

    if isinstance(source, WardrobeSource):
        return read_fashioniq(folder)
    return read_fashioniq(
        folder if source.folder is None else _place(source.folder),
        leave_out_leaked_train_pictures=source.leave_out_leaked_train_pictures,
        leave_out_placeholder_captions=source.leave_out_placeholder_captions,
    )


def _place(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _require_folder(text: str, key: str, holds: str) -> None:
    place = _place(text)
    if not place.is_dir():
        raise FileNotFoundError(
            f"{key} {place} is no folder: it must hold {holds}; put them there, or correct {key} in the YAML"
        )
