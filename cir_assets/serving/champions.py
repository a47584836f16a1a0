"""Every champion that can be searched with, each replaced while requests go on when a new one is exported."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from cir_assets.serving.export import NothingExported, current, every_export
from cir_assets.serving.index import EXACT_UP_TO
from cir_assets.serving.searcher import RefusedInput, Searcher

LOG = logging.getLogger("cir_assets.serving")
LOOK_EVERY_SECONDS = 1.0


class Champions:
    """Searchers by pipeline; a new export is loaded beside the old one and takes its place at once."""

    def __init__(self, storage_root: Path, *, dataset: str = "*", exact_up_to: int = EXACT_UP_TO) -> None:
        """Load every current export below ``storage_root``/search, or those of one data set.

        Raises:
            NothingExported: when there is none.
        """
        self.root = storage_root
        self._dataset = dataset
        self.exact_up_to = exact_up_to
        self._searchers: Mapping[str, Searcher] = {}
        self._stopped = threading.Event()
        self.look()
        if not self._searchers:
            raise NothingExported(
                f"nothing to search in {storage_root / 'search' / dataset}: materialize an asset …/search, "
                "or run make search"
            )

    def look(self) -> list[str]:
        """Load what is new; names of the pipelines that changed. One that does not load leaves the old one there."""
        changed = []
        searchers = dict(self._searchers)
        for folder in every_export(self.root / "search", self._dataset):
            name = "/".join(folder.parts[-3:])
            try:
                version = current(folder)
                if name in searchers and searchers[name].version == version.name:
                    continue
                searchers[name] = Searcher(version, self.root, exact_up_to=self.exact_up_to)
                changed.append(name)
            except (OSError, ValueError, LookupError) as error:
                LOG.warning("the export of %s does not load, what was there stays: %s", name, error)
        # One assignment: a request sees the old mapping or the new one.
        self._searchers = searchers
        return changed

    def watch(self) -> None:
        """Look every second until ``stop``, in a thread of its own."""

        def looking() -> None:
            while not self._stopped.wait(LOOK_EVERY_SECONDS):
                for name in self.look():
                    LOG.info("%s: a new champion is searched with", name)

        threading.Thread(target=looking, name="watch champions", daemon=True).start()

    def stop(self) -> None:
        """End watching."""
        self._stopped.set()

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
            RefusedInput: when there is none, naming those there are.
        """
        mine = [s for s in self.all() if s.about.dataset == dataset]
        if not mine:
            known = ", ".join(dict.fromkeys(s.about.dataset for s in self.all()))
            raise RefusedInput(f"there is no data set {dataset!r} to search; there are {known}")
        for searcher in mine:
            if pipeline is None or searcher.name == f"{dataset}/{pipeline}":
                return searcher
        names = ", ".join(s.name.partition("/")[2] for s in mine)
        raise RefusedInput(f"{dataset} has no pipeline {pipeline!r} to search; it has {names}")
