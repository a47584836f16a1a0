"""The kinds of data set there are: what a YAML says of each, and the one way in to all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cir_assets.datasets.tables import Annotations
from cir_assets.progress import ProgressFactory, terminal_progress


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WardrobeSource(_Source):
    """The embedded data set: clothes rendered from a seed."""

    kind: Literal["wardrobe"]
    size: int = Field(default=15_000, ge=1_000, le=1_000_000, description="Pictures in all three categories.")
    seed: int = Field(default=7, ge=0, description="Decides every garment, pose and caption.")


class FashionIQSource(_Source):
    """FashionIQ in a local folder: captions/, image_splits/ and images/<ASIN>.jpg or .png."""

    kind: Literal["fashioniq"]
    folder: str = Field(description="Folder that holds captions/, image_splits/ and images/.")
    leave_out_leaked: bool = Field(
        default=False, description="Leave out of train what is in another category's val or test."
    )


class CatalogueSource(_Source):
    """One's own pictures, with a table of triplets or without."""

    kind: Literal["catalogue"]
    pictures: str = Field(description="Folder of pictures; they are named by their path below it.")
    triplets: str | None = Field(
        default=None,
        description="CSV, JSONL or Parquet with reference, target, caption, and optionally more.",
    )
    val_share: float = Field(
        default=0.15, ge=0, lt=1, description="Share of val where the table has no split."
    )
    test_share: float = Field(
        default=0.15, ge=0, lt=1, description="Share of test where the table has no split."
    )
    seed: int = Field(default=0, ge=0, description="Decides the splits where the table has none.")


Source = Annotated[WardrobeSource | FashionIQSource | CatalogueSource, Field(discriminator="kind")]


def prepare(source: Source, folder: Path, progress: ProgressFactory = terminal_progress) -> None:
    """Make a data set's files ready: render them into ``folder``, or see that the local ones are there.

    Raises:
        FileNotFoundError: when a local folder or table is absent, naming it and what it must hold.
    """
    if isinstance(source, WardrobeSource):
        from cir_assets.datasets.wardrobe.generation import render_wardrobe

        render_wardrobe(folder, source.size, source.seed, progress)
    elif isinstance(source, FashionIQSource):
        place = Path(source.folder).expanduser()
        for name in ("captions", "image_splits", "images"):
            if not (place / name).is_dir():
                raise FileNotFoundError(
                    f"source.folder {place} has no folder {name}/: it must hold captions/, image_splits/ and "
                    "images/ of FashionIQ; put them there, or correct source.folder in the YAML"
                )
    else:
        pictures = Path(source.pictures).expanduser()
        if not pictures.is_dir():
            raise FileNotFoundError(
                f"source.pictures {pictures} is no folder: name the folder that holds the pictures"
            )
        if source.triplets is not None and not Path(source.triplets).expanduser().is_file():
            raise FileNotFoundError(
                f"source.triplets {source.triplets} is no file: name a CSV, JSONL or Parquet table, or leave it out"
            )


def read_annotations(source: Source, folder: Path) -> Annotations:
    """What a prepared data set's annotation files say, in the common form.

    Raises:
        BrokenAnnotations: when a file cannot be read, naming it, the place and the mend.
    """
    if isinstance(source, CatalogueSource):
        from cir_assets.datasets.catalogue import read_catalogue

        return read_catalogue(source)
    from cir_assets.datasets.fashioniq import read_fashioniq

    if isinstance(source, WardrobeSource):
        return read_fashioniq(folder)
    return read_fashioniq(Path(source.folder).expanduser(), leave_out_leaked=source.leave_out_leaked)
