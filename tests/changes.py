"""Every kind of change, made to a real catalogue over the full graph, and what it makes again.

``make changes`` prints the table that docs/changes.md keeps; ``tests/test_changes.py`` holds it to what is expected.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg

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


@dataclass
class Ran:
    """What followed a change: steps made anew, steps that found nothing to do or failed, and what encoding cost.

    ``encoded`` counts pictures; ``captions`` those that each training of stage 2 encoded.
    """

    made: set[str] = field(default_factory=set)
    reused: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    encoded: int = 0
    captions: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Shop:
    """A catalogue of two hundred pictures with a pipeline, its instance, and a daemon's ticks without a clock."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.project, self.instance = TrialProject(folder / "project"), instance
        self.pictures, self.table = folder / "pictures", folder / "triplets.csv"
        self.pictures.mkdir()
        rows = ["reference,target,caption,split"]
        for split, count in SPLITS.items():
            names = [f"{split}{number:03d}.jpg" for number in range(count)]
            for number, name in enumerate(names):
                (self.pictures / name).write_bytes(picture_bytes(name))
                rows.append(f"{name},{names[number - 1]},{WORDS[number % 5]} {number},{split}")
        self.table.write_text("\n".join(rows) + "\n")
        self.stages: dict[str, dict[str, Any]] = {"text_encoder": dict(STAGE), "combiner": dict(STAGE)}
        # Pictures at random teach nothing: whether one model is better than another is no matter here.
        self.promotion: dict[str, Any] = {"margin": 100, "better_on_average": False}
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
            watch_every_seconds=5,
            decoding_workers=0,
        )

    def tick(self) -> list[dg.AssetKey]:
        """One evaluation of every condition: the assets a run is asked for."""
        result = dg.evaluate_automation_conditions(
            self.project.definitions(), self.instance, cursor=self.cursor
        )
        self.cursor = result.cursor
        return [
            each.key
            for each in result.results
            if isinstance(each.key, dg.AssetKey) and not each.true_subset.is_empty
        ]

    def settle(self, *roots: str) -> Ran:
        """Refresh roots, as a schedule does, then tick and run what is asked for until nothing is."""
        started, ran = time.perf_counter(), Ran()
        wanted = [dg.AssetKey(root.split("/")) for root in roots]
        for _ in range(20):
            if wanted:
                self._run(wanted, ran)
            wanted = self.tick()
            if not wanted:
                break
        ran.seconds = time.perf_counter() - started
        return ran

    def _run(self, wanted: list[dg.AssetKey], ran: Ran) -> None:
        selection = [f'key:"{key.to_user_string()}"' for key in wanted]
        result = self.project.materialize(self.instance, *selection, raise_on_error=False)
        for key in wanted:
            name = key.to_user_string()
            short = name.removeprefix("shop/").replace("tiny_clip/", "").replace("quick/", "")
            if not result.asset_materializations_for_node(name.replace("/", "__")):
                ran.failed.add(short)
                continue
            said = metadata_of(result, name)
            (ran.reused if said.get("reused") else ran.made).add(short)
            if short.endswith("image_features") and not said["reused"]:
                ran.encoded += int(said["encoded"])
            if "combiner" in short and not said["reused"]:
                ran.captions[short] = int(said["captions_encoded"])

    def replace_in_table(self, old: str, new: str) -> None:
        """Edit the table of triplets."""
        text = self.table.read_text()
        assert old in text
        self.table.write_text(text.replace(old, new, 1))


@dataclass(frozen=True)
class Change:
    """One kind of change: how it is made, whether a root must be refreshed for it to be seen, and what follows.

    ``made`` are the steps that make something anew; every other step either is not run, or finds in its ledger that
    nothing changed for it.
    """

    name: str
    apply: Callable[[Shop], None]
    made: frozenset[str]
    refresh: bool = True
    encoded: int = 0
    captions: int = 0
    """Encoded for the Combiner on CLIP as it came, whose text encoder never changes."""


def _add_picture(shop: Shop) -> None:
    (shop.pictures / "new.jpg").write_bytes(picture_bytes("new"))


def _change_picture(shop: Shop) -> None:
    (shop.pictures / "train007.jpg").write_bytes(picture_bytes("quite another"))


def _remove_picture(shop: Shop) -> None:
    (shop.pictures / "new.jpg").unlink()


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


EVALUATED = frozenset({"evaluation", "report", "challenger", "leaderboard"})
"""What a new ranking makes anew; with the champion, where models are new too."""
TRAINED = frozenset({"text_encoder", "combiner_frozen_clip", "combiner", "champion", "search"}) | EVALUATED
CHANGES = (
    Change("the table of triplets replaced by an equal one", _equal_table, frozenset({"raw"})),
    Change("every picture touched, none changed", _equal_pictures, frozenset({"raw"})),
    Change(
        "a picture added to the gallery",
        _add_picture,
        frozenset({"raw", "images", "triplets", "image_features", "search"}) | EVALUATED,
        encoded=1,
    ),
    Change(
        "that picture removed",
        _remove_picture,
        frozenset({"raw", "images", "triplets", "image_features", "search"}) | EVALUATED,
    ),
    Change(
        "a picture of train changed",
        _change_picture,
        frozenset({"raw", "images", "triplets", "image_features"}) | TRAINED,
        encoded=1,
    ),
    Change(
        "a caption of test edited",
        lambda shop: shop.replace_in_table("is red 0,test", "is green,test"),
        frozenset({"raw", "images", "triplets", "search"}) | EVALUATED,
    ),
    Change(
        "a caption of train edited",
        lambda shop: shop.replace_in_table("is red 0,train", "is green,train"),
        frozenset({"raw", "images", "triplets"}) | TRAINED,
        captions=1,
    ),
    Change(
        "a hyper-parameter of stage 1",
        _stage_1,
        frozenset({"text_encoder", "combiner", "champion", "search"}) | EVALUATED,
        refresh=False,
    ),
    Change(
        "a hyper-parameter of stage 2",
        _stage_2,
        frozenset({"combiner_frozen_clip", "combiner", "champion", "search"}) | EVALUATED,
        refresh=False,
    ),
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
    started = time.perf_counter()
    print("| change | " + " | ".join(step.replace("_", " ") for step in STEPS) + " | encoded | seconds |")
    print("|---" * (len(STEPS) + 3) + "|")
    with fresh_shop() as shop:
        for change in CHANGES:
            change.apply(shop)
            show(change.name, shop.settle(*(["shop/raw"] if change.refresh else [])))
        with mock.patch("cir_assets.assets.evaluation.GENERATION", 99):
            show("the code generation of the evaluation", shop.settle())
            another_backbone(shop)
            ran = shop.settle("backbones/other")
            own = {name.removeprefix("other/") for name in ran.made}
            show(
                "another backbone: its own steps",
                Ran(own, ran.reused, ran.failed, ran.encoded, ran.captions, ran.seconds),
            )
            asked = sum(len(shop.tick()) for _ in range(IDLE_TICKS))
    print(
        f"\n{IDLE_TICKS} idle ticks after that asked for {asked} runs; {time.perf_counter() - started:.0f} s in all."
    )


def show(name: str, ran: Ran) -> None:
    """Print one row: made, looked at, or untouched."""
    cells = ["made" if step in ran.made else "same" if step in ran.reused else "" for step in STEPS]
    print(f"| {name} | {' | '.join(cells)} | {ran.encoded} | {ran.seconds:.0f} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
