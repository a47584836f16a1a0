"""A project of one's own in a temporary folder: YAML files, a storage folder, and real runs over both."""

from __future__ import annotations

import shutil
import sys
import textwrap
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from cir_assets.datasets.wardrobe.generation import render_wardrobe
from cir_assets.definitions import build_definitions
from cir_assets.store.home import begin_storage
from cir_assets.store.layout import Storage
from cir_assets.store.ledger import Ledger, LedgerEntry
from tests.warm_process import Death, started

PROJECT = Path(__file__).parents[1]
"""The folder this project is checked out in."""

QUICK_RECIPE = {
    "text_encoder": {"learning_rate": 5.0e-4, "batch_size": 64, "epochs": 2},
    "combiner": {"learning_rate": 2.0e-4, "batch_size": 64, "epochs": 2},
}


class TrialProject:
    """A package with ``defs/`` beside a ``storage/`` folder, loaded as users load theirs."""

    wardrobes: Path | None = None
    """Where a session's tests keep the wardrobes they share, each rendered once; None: a project renders its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = f"trial_{uuid.uuid4().hex[:8]}"
        self.storage = Storage(folder=str(folder / "storage"))
        begin_storage(folder / "storage")
        defs = folder / self.package / "defs"
        defs.mkdir(parents=True)
        (folder / self.package / "__init__.py").write_text("")
        (folder / self.package / "definitions.py").write_text(
            textwrap.dedent(
                """\
                from pathlib import Path
                import dagster as dg
                from cir_assets.definitions import build_definitions

                @dg.definitions
                def defs():
                    return build_definitions(Path(__file__).parent.parent, set_broken_aside=True)
                """
            )
        )
        (folder / "pyproject.toml").write_text(
            textwrap.dedent(
                f"""\
                [tool.dg]
                directory_type = "project"
                [tool.dg.project]
                root_module = "{self.package}"
                code_location_name = "{self.package}.definitions"
                """
            )
        )
        self.write_backbones({"tiny_clip": {"kind": "embedded", "place": "tiny_clip"}})

    def yaml(self, name: str) -> Path:
        """Where a data set's YAML lies."""
        return self.folder / self.package / "defs" / name / "defs.yaml"

    def write_backbones(self, backbones: dict[str, Any]) -> None:
        """Write the backbones' YAML."""
        self._write("backbones", "cir_assets.components.backbones.Backbones", {"backbones": backbones})

    def write_dataset(self, name: str, **attributes: Any) -> None:
        """Write a data set's YAML; what is left out is small and quick."""
        # A process that decodes ahead takes longer to start than a test's few pictures to decode.
        defaults: dict[str, Any] = {"backbones": ["tiny_clip"], "device": "cpu", "decoding_workers": 0}
        if not attributes.keys() & {"recipes", "models_of", "checkpoints"}:
            defaults["recipes"] = {"quick": QUICK_RECIPE}
        self._write(name, "cir_assets.components.dataset.Dataset", {**defaults, **attributes})

    def _write(self, name: str, component: str, attributes: dict[str, Any]) -> None:
        file = self.yaml(name)
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump({"type": component, "attributes": attributes}, sort_keys=False))

    def definitions(self, *, set_broken_aside: bool = False) -> dg.Definitions:
        """The graph as it is configured now."""
        with self.importable():
            return build_definitions(self.folder, self.storage, set_broken_aside=set_broken_aside)

    @contextmanager
    def importable(self) -> Iterator[None]:
        """Its package can be imported in here, and is forgotten afterwards."""
        sys.path.insert(0, str(self.folder))
        try:
            yield
        finally:
            sys.path.remove(str(self.folder))
            for module in [name for name in sys.modules if name.split(".")[0] == self.package]:
                del sys.modules[module]

    def _place_wardrobes(self) -> None:
        """Put those of a thousand pictures where their roots find them whole, unless something lies there already."""
        if self.wardrobes is None:
            return
        for file in (self.folder / self.package / "defs").glob("*/defs.yaml"):
            try:
                said = yaml.safe_load(file.read_text())
            except yaml.YAMLError:
                continue
            match said:
                case {"attributes": {"source": {"kind": "wardrobe", "size": 1000} as source}}:
                    raw = self.storage.raw(file.parent.name)
                    if not raw.exists():
                        shutil.copytree(self._rendered(self.wardrobes, source.get("seed", 7)), raw)

    @staticmethod
    def _rendered(wardrobes: Path, seed: int) -> Path:
        wardrobes.mkdir(exist_ok=True)
        with (wardrobes / f"{seed}.lock").open("w") as lock:
            # Whoever comes first renders it, while the other test processes wait.
            flock(lock, LOCK_EX)
            render_wardrobe(wardrobes / str(seed), 1000, seed, workers=1)
        return wardrobes / str(seed)

    def materialize(
        self,
        instance: dg.DagsterInstance,
        *selection: str,
        raise_on_error: bool = True,
        tags: Mapping[str, str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """One run over the selected assets, such as ``key:"wardrobe/*"``; in this process.

        A sensor's or a schedule's carries their name among its tags, a person's does not.
        """
        self._place_wardrobes()
        definitions = self.definitions()
        wanted = dg.AssetSelection.from_string(" or ".join(selection))
        keys = wanted.resolve(definitions.resolve_asset_graph())
        return definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=list(keys),
            raise_on_error=raise_on_error,
            tags=dict(tags or {}),
        )

    def command(self, *selection: str) -> list[str]:
        """The command line that materializes a selection."""
        return [
            *(str(Path(sys.executable).with_name("dagster")), "asset", "materialize"),
            *("--select", " or ".join(selection), "-m", f"{self.package}.definitions"),
        ]

    @property
    def log(self) -> Path:
        """What the newest process of ``start`` printed."""
        return self.folder / "run.log"

    def start(self, *selection: str, death: Death | None = None) -> BaseProcess:
        """The same in a process of its own, printing into ``log``, which may be killed."""
        self._place_wardrobes()
        return started(self.command(*selection), self.folder, self.storage.root, self.log, death)

    def entry(self, step: str) -> LedgerEntry:
        """The newest result of a step."""
        entry = Ledger(self.storage.ledger).latest(step)
        assert entry is not None, f"{step} was never made"
        return entry


def metadata_of(result: dg.ExecuteInProcessResult, step: str) -> dict[str, Any]:
    """The metadata one step recorded in a run, as plain values."""
    events: Sequence[Any] = result.asset_materializations_for_node(step.replace("/", "__"))
    return {name: getattr(value, "value", value) for name, value in events[-1].metadata.items()}
