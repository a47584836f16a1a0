"""What every kind of data set is: the settings a YAML gives, and what is done with them."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from cir_assets.datasets.tables import Annotations, BrokenAnnotations
from cir_assets.engines.progress import ProgressFactory, terminal_progress
from cir_assets.pictures.settings import Reading

if TYPE_CHECKING:
    from cir_assets.datasets.fetching import FetchReport


@dataclass(frozen=True)
class TestServer:
    """Where a split whose targets are secret is evaluated: the protocol whose files it takes, and its address."""

    __test__ = False  # pytest takes classes of such a name for tests.

    protocol: str
    address: str


@dataclass(frozen=True)
class WatchedFiles:
    """What a local data set is read from and people change: its folder of pictures, and its table if it has one."""

    pictures: Path
    triplets: Path | None

    def state(self) -> str | None:
        """Digest of names, sizes and times of all of it; None where the pictures are not there.

        Nothing is read: equal states say that no file was written, different ones that one may have been.
        """
        from cir_assets.datasets.catalogue.folder import files_below, status_of

        if not self.pictures.exists():
            return None
        if self.pictures.is_file():
            lines = [_line(str(self.pictures), status_of(self.pictures), None)]
        else:
            try:
                found = files_below(self.pictures)
                lines = sorted(_line(each.path, each.status, each.problem) for each in found)
            except BrokenAnnotations as error:
                # The root says so, when it is asked.
                lines = [str(error)]
        if self.triplets is not None:
            lines.append(_line("", status_of(self.triplets), None))
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _line(path: str, status: os.stat_result | None, problem: str | None) -> str:
    """What is compared of a file: path, size, modification time in nanoseconds, rights, what is wrong with it."""
    seen = "absent" if status is None else f"{status.st_size}\0{status.st_mtime_ns}\0{status.st_mode}"
    return f"{path}\0{seen}\0{problem}"


class DatasetSource(BaseModel):
    """A kind of data set: one class, its fields what ``source`` of a YAML may say.

    A new kind is a subclass in a file of its own, with a ``Literal`` for ``kind`` and ``read`` and
    ``picture_root``, and its line in ``sources.KINDS``. Paths of a source may begin with ``~`` and are otherwise
    relative to the working folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    test_server: ClassVar[TestServer | None] = None
    """Where its test split is evaluated, if its targets are secret."""

    kind: str
    # Left out of what versions are made of: it changes nothing of what the files say, only how they are encoded.
    reading: Reading = Field(
        default="reference",
        exclude=True,
        description=(
            "How pictures are read for encoding: as_seen as a viewer shows them (upright, on white, in sRGB), "
            "reference with the pixels as they are stored, as the reference implementation has them."
        ),
    )

    further_triplets: tuple[str, ...] = Field(
        default=(),
        # Left out of versions where there are none: what was made before it was known stays.
        exclude_if=lambda tables: not tables,
        description=(
            "Tables of more triplets to train on, on pictures of this data set: CSV, TSV, JSONL, Parquet or .xlsx with "
            "reference, target, caption. They join train alone."
        ),
    )

    features: tuple[str, ...] = Field(
        default=(),
        exclude_if=lambda files: not files,
        description=(
            "Files of features, .parquet or .safetensors, one a backbone, as cir-assets features export writes them: "
            "what is in them is not encoded, and counts as there without a picture."
        ),
    )

    @property
    def has_triplets(self) -> bool:
        """Whether there is something to train on and to evaluate, or pictures alone."""
        return True

    @property
    def watched(self) -> WatchedFiles | None:
        """What is looked at for changes between two refreshes; None: it changes only when it is refreshed."""
        return None

    @abstractmethod
    def read(self, folder: Path) -> Annotations:
        """Read what a prepared data set's annotation files say, in the common form.

        Args:
            folder: where ``prepare`` rendered or fetched files to (``storage/raw/<dataset>``); local data sets are
                read where they are, and may keep there what they know of their files.

        Raises:
            BrokenAnnotations: when a file cannot be read, naming it, the place and the mend.
        """

    def annotations(self, folder: Path) -> Annotations:
        """What ``read`` says, and the triplets of ``further_triplets`` added to train.

        Args:
            folder: as for ``read``.

        Raises:
            BrokenAnnotations: as ``read``, and when such a table cannot be read or names no picture there is.
        """
        read = self.read(folder)
        if not self.further_triplets:
            return read
        from cir_assets.datasets.further_triplets import with_further_triplets

        return with_further_triplets(read, [local(table) for table in self.further_triplets])

    @abstractmethod
    def picture_root(self, folder: Path) -> Path:
        """Return the folder that ``path`` of the pictures is relative to; no annotation is read for it.

        Args:
            folder: as for ``read``.
        """

    def require_files(self) -> None:
        """See that what ``prepare`` does not make is there.

        Raises:
            FileNotFoundError: naming the key, the path and what it must hold.
        """

    def prepare(self, folder: Path, progress: ProgressFactory = terminal_progress) -> FetchReport | None:
        """Make a data set's files ready: render or fetch them into ``folder``, or see that the local ones are there.

        Local files are read where they are; nothing is copied.

        Args:
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
        self.require_files()
        annotations = self.annotations(folder)
        if not self.features:
            _require_pictures(annotations)
        return None


def local(text: str) -> Path:
    """Return the absolute path a YAML's text stands for."""
    return Path(text).expanduser().absolute()


class InOneFolder(DatasetSource):
    """A published data set whose files people have put into one folder; its pictures may lie in another.

    A kind says what the folder must hold in ``holds``, and describes both fields in its own words.
    """

    holds: ClassVar[str]

    folder: str = Field(description="Folder that holds the data set's files.", min_length=1)
    pictures: str | None = Field(default=None, description="Folder of the pictures; none: the folder.")

    def require_files(self) -> None:
        """See that the folder is there."""
        require_folder(self.folder, "source.folder", self.holds)

    def picture_root(self, folder: Path) -> Path:
        """The folder of pictures, named or the data set's own."""
        return local(self.folder if self.pictures is None else self.pictures)


def require_folder(text: str, key: str, holds: str) -> None:
    """See that a folder is there.

    Raises:
        FileNotFoundError: naming the key, the path and what it must hold.
    """
    if not local(text).is_dir():
        raise FileNotFoundError(
            f"{key} {local(text)} is no folder: it must hold {holds}; put them there, or correct {key} in the YAML"
        )


def _require_pictures(annotations: Annotations) -> None:
    root, paths = annotations.picture_root, annotations.pictures["path"]
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not there: put the pictures of this data set into it")
    # Unlike Path.is_file, it takes a name that no file can have for one that is not there.
    if not any(os.path.isfile(root / path) for path in paths):  # noqa: PTH113
        raise FileNotFoundError(
            f"{root} holds none of the {len(paths):,} pictures of this data set"
            + (f" (the first is {paths[0]})" if len(paths) else "")
            + "; put them there, or name the right folder in the YAML"
        )
