"""Small data sets whose steps are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from cir_assets.components.dataset import Dataset
from cir_assets.components.loading import tree_of
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.step import Work, run
from cir_assets.pipeline.whole import steps_of
from cir_assets.store.contracts import Table
from cir_assets.store.made import Made
from cir_assets.store.tables import read_table
from tests.changes import Shop
from tests.random_pictures import picture_bytes

CAPTIONS = ("is red", "has longer sleeves", "is blue and dotted", "with a belt")


@pytest.fixture
def catalogue(tmp_path: Path) -> dict[str, str]:
    """A hundred and twenty pictures and as many triplets, of all three splits."""
    folder = tmp_path / "catalogue"
    folder.mkdir()
    rows = ["reference,target,caption,split"]
    for split, count in (("train", 80), ("val", 20), ("test", 20)):
        names = [f"{split}{number:03d}.jpg" for number in range(count)]
        for number, name in enumerate(names):
            (folder / name).write_bytes(picture_bytes(name))
            rows.append(f"{name},{names[number - 1]},{CAPTIONS[number % 4]},{split}")
    (tmp_path / "triplets.csv").write_text("\n".join(rows) + "\n")
    return {"kind": "catalogue", "pictures": str(folder), "triplets": str(tmp_path / "triplets.csv")}


@dataclass(frozen=True)
class ByHand:
    """A pipeline all of whose steps were made without Dagster; it is only looked at."""

    work: Work
    pipeline: Pipeline
    made: Mapping[str, Made]

    def table(self, table: Table) -> pl.DataFrame:
        """One of the data set's tables."""
        return read_table(self.work.storage.tables("shop"), table)


@pytest.fixture(scope="session")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> ByHand:
    """Forty-eight pictures and everything that is made of them."""
    with dg.DagsterInstance.ephemeral() as instance:
        shop = Shop(tmp_path_factory.mktemp("by_hand"), instance, {"train": 32, "val": 8, "test": 8})
    for stage in shop.stages.values():
        stage["batch_size"] = 16
    shop.write()
    with shop.project.importable():
        [dataset] = tree_of(shop.project.folder, "shop").get_all_components(of_type=Dataset)
    [pipeline] = dataset.pipelines()
    work = Work(shop.project.storage, say=lambda _: None)
    return ByHand(work, pipeline, {step.name: run(step, work)[0] for step in steps_of([pipeline])})
