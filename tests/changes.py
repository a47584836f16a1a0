"""Every kind of change, made to a real catalogue over the full graph, and what it makes again.

``make changes`` prints the table that docs/changes.md keeps; ``tests/test_changes.py`` holds it to what is expected.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg

from cir_assets.graph.resources import StorageFolder
from cir_assets.models.installation import EMBEDDED
from tests.random_pictures import picture_bytes
from tests.trial_project import TrialProject, metadata_of

STAGE = {"learning_rate": 1.0e-3, "batch_size": 32, "epochs": 2, "logit_scale": 10.0}
WORDS = ("is red", "has longer sleeves", "is blue and dotted", "with a belt", "is much shorter")
SPLITS = {"train": 160, "val": 20, "test": 20}
STEPS = (
    "raw",
    "images",
    "triplets",
    "image_features",
    "text_encoder",
    "combiner_frozen_clip",
    "combiner",
    "evaluation",
    "report",
    "challenger",
    "champion",
    "search",
    "leaderboard",
)
IDLE_TICKS = 20
NEW = ("new0.jpg", "new1.jpg")
"""Pictures added to the two hundred: 1 %."""


@dataclass
class Ran:
    """What followed a change: steps made anew, steps that found nothing to do or failed, and what encoding cost.

    ``times`` counts how often each step ran, ``encoded`` and ``already_known`` pictures; ``captions`` are those that
    stage 2 encoded, on CLIP as it came and on stage 1's text encoder; ``seconds`` of one CPU.
    """

    made: set[str] = field(default_factory=set)
    same: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    times: Counter[str] = field(default_factory=Counter)
    encoded: int = 0
    already_known: int = 0
    captions: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def twice(self) -> set[str]:
        """Steps that ran more than once."""
        return {step for step, times in self.times.items() if times > 1}


class Shop:
    """A catalogue of two hundred pictures with a pipeline, its instance, and a daemon's ticks without a clock."""

    def __init__(
        self, folder: Path, instance: dg.DagsterInstance, splits: Mapping[str, int] = SPLITS
    ) -> None:
        self.project, self.instance = TrialProject(folder / "project"), instance
        self.pictures, self.table = folder / "pictures", folder / "triplets.csv"
        self.pictures.mkdir()
        rows = ["reference,target,caption,split"]
        for split, count in splits.items():
            names = [f"{split}{number:03d}.jpg" for number in range(count)]
            for number, name in enumerate(names):
                (self.pictures / name).write_bytes(picture_bytes(name))
                rows.append(f"{name},{names[number - 1]},{WORDS[number % 5]} {number},{split}")
        self.table.write_text("\n".join(rows) + "\n")
        self.stages: dict[str, dict[str, Any]] = {"text_encoder": dict(STAGE), "combiner": dict(STAGE)}
        # Pictures at random teach nothing: whether one model is better than another is no matter here.
        self.promotion: dict[str, Any] = {"margin": 100, "better_on_average": False}
        self.settings: dict[str, Any] = {"watch_every_seconds": 5}
        self.backbones = {"tiny_clip": {"kind": "embedded", "place": "tiny_clip"}}
        self.cursor: Any = None
        self.write()

    def write(self) -> None:
        """Write the YAML files as they should be now."""
        self.project.write_backbones(self.backbones)
        self.project.write_dataset(
            "shop",
            source={"kind": "catalogue", "pictures": str(self.pictures), "triplets": str(self.table)},
            backbones=list(self.backbones),
            recipes={"quick": self.stages},
            promotion=self.promotion,
            **self.settings,
        )

    def tick(self, definitions: dg.Definitions | None = None) -> list[dg.AssetKey]:
        """One evaluation of every condition: the assets a run is asked for."""
        result = dg.evaluate_automation_conditions(
            definitions or self.project.definitions(), self.instance, cursor=self.cursor
        )
        self.cursor = result.cursor
        return [
            each.key
            for each in result.results
            if isinstance(each.key, dg.AssetKey) and not each.true_subset.is_empty
        ]

    def idle(self, ticks: int = IDLE_TICKS) -> list[str]:
        """Ticks of everything that may ask for a run, conditions, files' sensor and sweep: what they asked for."""
        definitions, asked = self.project.definitions(), list[str]()
        cursors: dict[str, str | None] = {}
        for _ in range(ticks):
            asked += [key.to_user_string() for key in self.tick(definitions)]
            for name in ("shop_files", "stale_sweep"):
                with dg.build_sensor_context(
                    instance=self.instance,
                    cursor=cursors.get(name),
                    definitions=definitions,
                    resources={"storage": StorageFolder(folder=str(self.project.storage.root))},
                ) as context:
                    said = definitions.resolve_sensor_def(name).evaluate_tick(context)
                cursors[name] = said.cursor
                asked += [name for _ in said.run_requests or ()]
        return asked

    def settle(self, *roots: str, by: Mapping[str, str] | None = None) -> Ran:
        """Refresh roots, as a person does, then tick and run what is asked for until nothing is.

        ``by`` are the tags of the first run, by which a sensor or a schedule is told.
        """
        started, ran = time.process_time(), Ran()
        wanted = [dg.AssetKey(root.split("/")) for root in roots]
        for _ in range(20):
            if wanted:
                self._run(wanted, ran, by)
            wanted, by = self.tick(), None
            if not wanted:
                break
        ran.seconds = time.process_time() - started
        return ran

    def _run(self, wanted: list[dg.AssetKey], ran: Ran, tags: Mapping[str, str] | None) -> None:
        selection = [f'key:"{key.to_user_string()}"' for key in wanted]
        result = self.project.materialize(self.instance, *selection, raise_on_error=False, tags=tags)
        for key in wanted:
            name = key.to_user_string()
            short = name.removeprefix("shop/").replace("tiny_clip/", "").replace("quick/", "")
            ran.times[short] += 1
            if not result.asset_materializations_for_node(name.replace("/", "__")):
                ran.failed.add(short)
                continue
            said = metadata_of(result, name)
            (ran.same if said["reused"] else ran.made).add(short)
            if short.endswith("image_features"):
                ran.encoded += said["encoded"]
                ran.already_known += said["already_known"]
            if "combiner" in short:
                ran.captions[short.removeprefix("other/")] += said["captions_encoded"]

    def replace_in_table(self, old: str, new: str) -> None:
        """Edit the table of triplets."""
        text = self.table.read_text()
        assert old in text
        self.table.write_text(text.replace(old, new, 1))


@dataclass(frozen=True)
class Change:
    """One kind of change: how it is made, whether a root must be refreshed for it to be seen, and what follows.

    ``made`` are the steps that make something anew, ``same`` those that run and find in their ledger that nothing
    changed for them; every other step must not run at all. ``twice`` are those that run again: what shows pictures
    follows them at once, and the new ranking or champion when that is there.
    """

    name: str
    apply: Callable[[Shop], None]
    made: frozenset[str]
    same: frozenset[str] = frozenset()
    twice: frozenset[str] = frozenset()
    refresh: bool = True
    encoded: int = 0
    already_known: int = 0
    captions: Mapping[str, int] = field(default_factory=dict)
    """Encoded for each Combiner; that on CLIP as it came has a text encoder that never changes."""


def _add_pictures(shop: Shop) -> None:
    for name in NEW:
        (shop.pictures / name).write_bytes(picture_bytes(name))


def _change_picture(shop: Shop) -> None:
    (shop.pictures / "train007.jpg").write_bytes(picture_bytes("quite another"))


def _remove_pictures(shop: Shop) -> None:
    for name in NEW:
        (shop.pictures / name).unlink()


def _equal_table(shop: Shop) -> None:
    content = shop.table.read_bytes()
    shop.table.unlink()
    shop.table.write_bytes(content)


def _equal_pictures(shop: Shop) -> None:
    for picture in shop.pictures.iterdir():
        picture.touch()


def _stage_1(shop: Shop) -> None:
    shop.stages["text_encoder"]["learning_rate"] = 9.0e-4
    shop.write()


def _stage_2(shop: Shop) -> None:
    shop.stages["combiner"]["dropout"] = 0.4
    shop.write()


def another_backbone(shop: Shop) -> None:
    weights = shop.table.parent / "other_clip"
    shutil.copytree(EMBEDDED / "tiny_clip", weights)
    shop.backbones["other"] = {"kind": "folder", "place": str(weights), "padding": "squarepad"}
    shop.write()


MODELS = frozenset({"text_encoder", "combiner_frozen_clip", "combiner"})
READ = frozenset({"raw", "images", "triplets"})
EVALUATED = frozenset({"evaluation", "report", "challenger", "leaderboard"})
"""What a new ranking makes anew; with the champion, where models are new too."""
TRAINED = MODELS | {"champion", "search"} | EVALUATED
CHANGES = (
    Change("the table of triplets replaced by an equal one", _equal_table, frozenset(), frozenset({"raw"})),
    Change("every picture touched, none changed", _equal_pictures, frozenset(), frozenset({"raw"})),
    Change(
        "two pictures added to the 200 of the gallery",
        _add_pictures,
        READ | {"image_features", "search"} | EVALUATED,
        MODELS,
        twice=frozenset({"report"}),
        encoded=2,
        already_known=200,
    ),
    Change(
        "these two removed",
        _remove_pictures,
        READ | {"image_features", "search"} | EVALUATED,
        MODELS,
        twice=frozenset({"report"}),
        already_known=200,
    ),
    Change(
        "a picture of train changed",
        _change_picture,
        READ | {"image_features"} | TRAINED,
        twice=frozenset({"report", "search"}),
        encoded=1,
        already_known=199,
        captions={"combiner": 160},
    ),
    Change(
        "a caption of test edited",
        lambda shop: shop.replace_in_table("is red 0,test", "is green,test"),
        READ | {"search"} | EVALUATED,
        MODELS,
    ),
    Change(
        "a caption of train edited",
        lambda shop: shop.replace_in_table("is red 0,train", "is green,train"),
        READ | TRAINED,
        captions={"combiner_frozen_clip": 1, "combiner": 161},
    ),
    Change(
        "a hyper-parameter of stage 1",
        _stage_1,
        # On random pictures val finds a method without stage 1 best, so who serves stays.
        TRAINED - {"combiner_frozen_clip", "champion", "search"},
        refresh=False,
        captions={"combiner": 161},
    ),
    Change("a hyper-parameter of stage 2", _stage_2, TRAINED - {"text_encoder"}, refresh=False),
)


@contextmanager
def fresh_shop() -> Iterator[Shop]:
    """A shop in a folder of its own, everything in it made once."""
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.ephemeral() as instance:
        shop = Shop(Path(folder), instance)
        shop.tick()
        shop.settle("shop/raw", "backbones/tiny_clip")
        yield shop


def main() -> None:
    """Make every change in turn and print what it made again."""
    started = time.process_time()
    columns = ("change", *STEPS, "pictures encoded", "captions encoded", "CPU seconds")
    print(f"| {' | '.join(column.replace('_', ' ') for column in columns)} |")
    print("|---" * len(columns) + "|")
    with fresh_shop() as shop:
        for change in CHANGES:
            change.apply(shop)
            show(change.name, shop.settle(*(["shop/raw"] if change.refresh else [])))
        with mock.patch("cir_assets.pipeline.evaluation.GENERATION", 99):
            show("the code generation of the evaluation", shop.settle())
            another_backbone(shop)
            ran = shop.settle("backbones/other")
            own = {name.removeprefix("other/") for name in ran.made}
            show("another backbone: its own steps", replace(ran, made=own))
            asked = shop.idle()
    print(
        f"\n{IDLE_TICKS} idle ticks of conditions, files' sensor and sweep after that asked for {len(asked)} runs; "
        f"{time.process_time() - started:.0f} s of one CPU in all."
    )


def show(name: str, ran: Ran) -> None:
    """Print one row: what was made, ran and stayed the same, or was not run, and what that encoded."""
    cells = [
        "failed"
        if step in ran.failed
        else ("made" if step in ran.made else "same" if step in ran.same else "")
        + (" twice" if step in ran.twice else "")
        for step in STEPS
    ]
    looked_at = ran.encoded + ran.already_known
    pictures = f"{ran.encoded} of {looked_at}" if looked_at else ""
    counts = [
        f"{count} for {combiner.replace('_', ' ')}" for combiner, count in ran.captions.items() if count
    ]
    captions = ", ".join(counts) or ("0" if ran.captions else "")
    print(f"| {name} | {' | '.join(cells)} | {pictures} | {captions} | {ran.seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
