"""The graph itself: ``make demo``'s work through Dagster, and the same steps in one process without it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measuring import Measured, Scale, apart, once
from cir_assets.components.graph import pipelines_of
from cir_assets.components.specification import DatasetSpec
from cir_assets.models.settings import BackboneSettings
from cir_assets.pipeline.step import Work
from cir_assets.pipeline.step import run as make
from cir_assets.pipeline.whole import steps_of
from cir_assets.store.layout import Storage
from tests.trial_project import TrialProject

TITLE = "the graph: from nothing to the report"

WARDROBE = Path(__file__).parent.parent / "cir_assets" / "defs" / "wardrobe" / "defs.yaml"


def attributes(size: int) -> dict[str, Any]:
    """The embedded data set's own YAML at another size, the recipe of ``make demo`` alone."""
    found: dict[str, Any] = yaml.safe_load(WARDROBE.read_text(encoding="utf-8"))["attributes"]
    return {
        "source": {**found["source"], "size": size},
        "protocols": found["protocols"],
        "backbones": found["backbones"],
        "recipes": {"small": found["recipes"]["small"]},
    }


def by_the_graph(folder: Path, size: int) -> None:
    """``cir-assets demo`` on a fresh storage."""
    project = TrialProject(folder)
    project.write_dataset("wardrobe", **attributes(size), device="auto")
    subprocess.run(
        [
            *(str(Path(sys.executable).with_name("cir-assets")), "demo"),
            *("--module", f"{project.package}.definitions"),
        ],
        cwd=folder,
        env={**os.environ, "DAGSTER_HOME": str(project.storage.root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def by_hand(folder: Path, size: int) -> None:
    """The same steps, one after another in this process."""
    spec = DatasetSpec.model_validate(attributes(size))
    embedded = BackboneSettings.model_validate({"kind": "embedded", "place": "tiny_clip"})
    work = Work(Storage(folder), say=lambda _: None)
    for step in steps_of(pipelines_of("wardrobe", spec, {"tiny_clip": embedded})):
        make(step, work)


def run(scale: Scale) -> Iterator[Measured]:
    """Wardrobes of the least size, of ten and a hundred times that, and of the demo's."""
    for size in scale.sizes(1_000, 10_000, 15_000, 100_000):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            ours = once(partial(by_the_graph, folder / "graph", size))
            hand = once(partial(apart, by_hand, folder / "hand", size))
            yield Measured(
                "cir-assets demo",
                f"wardrobe of {size:,} pictures",
                size,
                ours,
                hand.median,
                "the same steps in one process, without Dagster",
                goal="1.25 × those steps" if size == 15_000 else "",
                reached=ours.median <= 1.25 * hand.median if size == 15_000 else None,
                figures={"seconds over them": ours.median - hand.median},
            )
