"""Every champion that can be searched with, each replaced while requests go on when a new one is exported."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from cir_assets.serving.export import BrokenExport, NothingExported, current, every_export
from cir_assets.serving.index import EXACT_UP_TO
from cir_assets.serving.searcher import Searcher, UnknownName
from cir_assets.serving.uploads import Uploads
from cir_assets.store.layout import Storage

LOG = logging.getLogger("cir_assets.serving")
LOOK_EVERY_SECONDS = 1.0
TRY_AGAIN_SECONDS = 60.0
"""An export that did not load is tried again when its files change, and anyhow after so long."""


Files = tuple[tuple[str, int, int], ...]
"""Name, size and time of a version's files."""


@dataclass(frozen=True)
class _Failure:
    """An export that did not load: why, as what it lay there, and when that was."""

    said: str
    files: Files
    moment: float


class Champions:
    """Searchers by pipeline; a new export is loaded beside the old one and takes its place at once.

    Attributes:
        uploads: pictures people brought, whoever is champion.
    """

    def __init__(
        self,
        storage_root: Path,
        *,
        dataset: str | None = None,
        exact_up_to: int = EXACT_UP_TO,
        may_be_empty: bool = False,
        shared: Path | None = None,
    ) -> None:
        """Load every current export below ``storage_root``/search, or those of one data set.

        Args:
            storage_root: where everything lies.
            dataset: its name; all if None.
            exact_up_to: pictures that are searched exactly, see ``Index``.
            may_be_empty: go on where nothing was exported yet, until something is.
            shared: folder in which the processes of one server have features and uploads in common.

        Raises:
            UnknownName: when there is nothing of that data set, naming those there are.
            NothingExported: when there is nothing at all, or nothing that loads, unless it ``may_be_empty`` until
                there is.
        """
        self.root = storage_root
        self._exports = Storage(storage_root).searches
        self.uploads = Uploads(shared)
        self._shared = shared
        self._dataset = dataset
        self.exact_up_to = exact_up_to
        self._searchers: Mapping[str, Searcher] = {}
        self._loaded: dict[str, Files] = {}
        self._failures: dict[str, _Failure] = {}
        self._stopped = threading.Event()
        self.look()
        if self._searchers or may_be_empty:
            return
        if self._failures:
            raise NothingExported(
                "no export loads: " + "; ".join(each.said for each in self._failures.values())
            )
        known = sorted({folder.parts[-3] for folder in every_export(self._exports)})
        if dataset is not None and known:
            raise UnknownName(f"there is no data set {dataset!r} to search; there are {', '.join(known)}")
        raise NothingExported(
            f"nothing to search in {self._exports}: materialize an asset …/search, or run make search"
        )

    def look(self) -> list[str]:
        """Load what is new; names of the pipelines that changed. One that does not load leaves the old one there.

        So does one that was taken away, or whose files changed and no longer load.
        """
        changed = []
        searchers, failures = dict(self._searchers), {}
        folders = {"/".join(each.parts[-3:]): each for each in every_export(self._exports, self._dataset)}
        for name in dict.fromkeys([*folders, *searchers]):
            files: Files = ()
            before = self._failures.get(name)
            try:
                version = current(folders.get(name, self._exports / name))
                files = _files(version)
                if name in searchers and (searchers[name].version, self._loaded[name]) == (
                    version.name,
                    files,
                ):
                    continue
                if before and before.files == files and time.monotonic() - before.moment < TRY_AGAIN_SECONDS:
                    failures[name] = before
                    continue
                searchers[name] = Searcher(
                    version,
                    self.root,
                    exact_up_to=self.exact_up_to,
                    uploads=self.uploads,
                    shared=self._shared,
                )
                self._loaded[name] = files
                changed.append(name)
            except Exception as error:
                # Whatever a file holds: the other pipelines, and looking itself, go on.
                failures[name] = _Failure(str(error), files, time.monotonic())
                if before is None or before.said != failures[name].said:
                    kept = "; what was there stays" if name in searchers else ""
                    LOG.warning("the export of %s does not load%s: %s", name, kept, error)
        # One assignment each: a request sees the old mapping or the new one.
        self._searchers, self._failures = searchers, failures
        return changed

    def watch(self) -> None:
        """Look every second until ``stop``, in a thread of its own."""

        def looking() -> None:
            while not self._stopped.wait(LOOK_EVERY_SECONDS):
                try:
                    for name in self.look():
                        LOG.info("%s: a new champion is searched with", name)
                except Exception:
                    LOG.exception("could not look for new champions in %s", self._exports)

        threading.Thread(target=looking, name="watch champions", daemon=True).start()

    def stop(self) -> None:
        """End watching."""
        self._stopped.set()

    def troubles(self) -> dict[str, str]:
        """Why the newest export of a pipeline is not searched with: pipeline -> what went wrong."""
        # Paths below the storage folder: programs elsewhere need not know where that is.
        return {name: each.said.replace(f"{self.root}/", "") for name, each in self._failures.items()}

    def all(self) -> list[Searcher]:
        """Every searcher, the best headline of a data set first."""
        return sorted(
            self._searchers.values(), key=lambda s: (s.about.dataset, -(s.about.headline or 0.0), s.name)
        )

    def of(self, dataset: str, pipeline: str | None = None) -> Searcher:
        """The searcher of a data set: the named pipeline's, else that with the best headline on val.

        Args:
            dataset: its name.
            pipeline: backbone/recipe.

        Raises:
            UnknownName: when there is none, naming those there are.
        """
        mine = [s for s in self.all() if s.about.dataset == dataset]
        if not mine:
            known = ", ".join(dict.fromkeys(s.about.dataset for s in self.all())) or "none yet"
            broken = "; ".join(
                said for name, said in self.troubles().items() if name.startswith(f"{dataset}/")
            )
            why = f" ({broken})" if broken else ""
            raise UnknownName(f"there is no data set {dataset!r} to search{why}; there are {known}")
        for searcher in mine:
            if pipeline is None or searcher.name == f"{dataset}/{pipeline}":
                return searcher
        names = ", ".join(s.name.partition("/")[2] for s in mine)
        raise UnknownName(f"{dataset} has no pipeline {pipeline!r} to search; it has {names}")


def _files(version: Path) -> Files:
    """Name, size and time of a version's files; empty where it is not there.

    Raises:
        BrokenExport: when one of them is no file; a pipe in its place would be waited for without end.
    """
    if not version.is_dir():
        return ()
    looks = {each: each.stat() for each in sorted(version.iterdir())}
    for file, look in looks.items():
        if not S_ISREG(look.st_mode):
            raise BrokenExport(file, "is no regular file")
    return tuple((file.name, look.st_size, look.st_mtime_ns) for file, look in looks.items())
