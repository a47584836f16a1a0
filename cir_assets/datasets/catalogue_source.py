"""One's own catalogue as a YAML names it; ``catalogue`` reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from cir_assets.datasets.dataset_source import DatasetSource, WatchedFiles, local, require_folder
from cir_assets.datasets.tables import Annotations
from cir_assets.engines.progress import ProgressFactory, terminal_progress
from cir_assets.pictures.settings import Reading

if TYPE_CHECKING:
    from cir_assets.datasets.fetching import FetchReport


class CatalogueSource(DatasetSource):
    """One's own pictures, with a table of triplets or without."""

    kind: Literal["catalogue"]
    reading: Reading = Field(
        default="as_seen",
        exclude=True,
        description=(
            "How pictures are read for encoding: as_seen as a viewer shows them (upright, on white, in sRGB), "
            "reference with the pixels as they are stored."
        ),
    )
    pictures: str = Field(
        description="Folder of pictures, or a ZIP or TAR of one; they are named by their path below it.",
        min_length=1,
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
        if self.further_triplets and self.triplets is None:
            raise ValueError("further_triplets only train; name triplets too, the table of what is evaluated")
        return self

    @property
    def has_triplets(self) -> bool:
        """Only with a table."""
        return self.triplets is not None

    @property
    def watched(self) -> WatchedFiles:
        """The folder and the table: people change both."""
        return WatchedFiles(local(self.pictures), None if self.triplets is None else local(self.triplets))

    def require_files(self) -> None:
        """See that the folder and the table are there."""
        if not local(self.pictures).is_file():
            require_folder(self.pictures, "source.pictures", "the pictures of the catalogue")
        if self.triplets is not None and not local(self.triplets).is_file():
            raise FileNotFoundError(
                f"source.triplets {local(self.triplets)} is no file: name a CSV, TSV, JSONL, Parquet or .xlsx "
                "table, or leave the key out for a catalogue without triplets"
            )

    def prepare(self, folder: Path, progress: ProgressFactory = terminal_progress) -> FetchReport | None:
        """See that the files are there; an archive of pictures is unpacked into ``folder`` where it changed.

        Raises:
            RefusedArchive: when the archive is broken or not to be trusted.
        """
        if local(self.pictures).is_file():
            from cir_assets.datasets.archives import unpack_whole
            from cir_assets.pictures.opening import ENDINGS

            wanted = self.picture_root(folder)
            unpack_whole(local(self.pictures), wanted, lambda member: member.suffix.lower() in ENDINGS)
        return super().prepare(folder, progress)

    def picture_root(self, folder: Path) -> Path:
        """The folder the YAML names, or the one its archive is unpacked into."""
        named = local(self.pictures)
        return folder / "pictures" if named.is_file() else named

    def read(self, folder: Path) -> Annotations:
        """Read the folder and the table; ``folder`` keeps what is known of the pictures' contents."""
        # Reading looks into pictures; settings load without the libraries for that.
        from cir_assets.datasets.catalogue import read_catalogue
        from cir_assets.store.feature_files import read_features

        return read_catalogue(
            self.picture_root(folder),
            None if self.triplets is None else local(self.triplets),
            val_share=self.val_share,
            test_share=self.test_share,
            seed=self.seed,
            memory=folder / "content_keys.parquet",
            known_by_features=[
                image for file in self.features for image in read_features(local(file)).images
            ],
        )
