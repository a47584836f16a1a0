"""What a refresh lost since the last one that was accepted, and the one that waits for a person because of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from cir_assets.store.contracts import ACCEPTED_PICTURES
from cir_assets.store.files import write_whole
from cir_assets.store.layout import Storage
from cir_assets.store.tables import table_file, write_table


@dataclass(frozen=True)
class Loss:
    """What is gone of what was there.

    Attributes:
        pictures: how many there were.
        gone: those that are there no longer, under their name or another, sorted.
        triplets: how many there were.
        triplets_gone: how many fewer there are.
    """

    pictures: int = 0
    gone: Sequence[str] = ()
    triplets: int = 0
    triplets_gone: int = 0

    def exceeds(self, share: float) -> bool:
        """Whether more than ``share`` of the pictures or of the triplets is gone."""
        return len(self.gone) > share * self.pictures or self.triplets_gone > share * self.triplets

    def __str__(self) -> str:
        first = f" (first: {', '.join(self.gone[:3])})" if self.gone else ""
        return (
            f"{len(self.gone):,} of {self.pictures:,} pictures{first} and {self.triplets_gone:,} of "
            f"{self.triplets:,} triplets are gone since the last refresh"
        )


@dataclass(frozen=True)
class HeldRefresh:
    """A refresh that waits for a person: the pictures it found gone, and the state of the watched files it saw."""

    gone: Sequence[str]
    files: str | None


def loss_of_pictures(memory: Path, images: pl.DataFrame) -> tuple[int, list[str]]:
    """How many pictures were accepted last, and which of them are no longer among ``images``.

    A picture that was renamed, or whose content is another, is not gone.
    """
    try:
        accepted = pl.read_parquet(table_file(memory, ACCEPTED_PICTURES))
    except (OSError, pl.exceptions.PolarsError):
        # Never accepted, or left broken by a failing disk.
        return 0, []
    gone = accepted.join(images, on="image", how="anti").join(images, on="image_key", how="anti")
    return accepted.height, sorted(gone["image"])


def held_refresh(storage: Storage, dataset: str) -> HeldRefresh | None:
    """The refresh of a data set that waits for a person; None where none does."""
    try:
        return HeldRefresh(**json.loads(_held(storage, dataset).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def held_refreshes(storage: Storage) -> dict[str, str]:
    """Every data set whose refresh waits for a person -> what it found, and what the person can do."""
    held = {}
    for memory in sorted(storage.tables("*").parent.glob("*/memory")):
        dataset = memory.parent.name
        if (refresh := held_refresh(storage, dataset)) is not None:
            first = f" (first: {', '.join(refresh.gone[:3])})" if refresh.gone else ""
            held[dataset] = (
                f"{len(refresh.gone):,} pictures are gone{first}: bring them back, or materialize {dataset}/raw to "
                "accept that"
            )
    return held


def hold(storage: Storage, dataset: str, refresh: HeldRefresh) -> None:
    """Remember that a refresh waits for a person."""
    with write_whole(_held(storage, dataset)) as beside:
        beside.write_text(json.dumps(asdict(refresh), ensure_ascii=False), encoding="utf-8")


def accept(storage: Storage, dataset: str, images: pl.DataFrame) -> None:
    """Remember the pictures a refresh found; none waits any longer."""
    write_table(images.select("image", "image_key"), memory_of(storage, dataset), ACCEPTED_PICTURES)
    with suppress(FileNotFoundError):
        _held(storage, dataset).unlink()


def memory_of(storage: Storage, dataset: str) -> Path:
    """Where a data set's refreshes keep what they found."""
    return storage.tables(dataset) / "memory"


def _held(storage: Storage, dataset: str) -> Path:
    return memory_of(storage, dataset) / "held_refresh.json"
