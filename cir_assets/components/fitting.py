"""A YAML that fits a catalogue: its table is read, and recipe and protocols are those that it can fill."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import yaml

from cir_assets.components.specification import DatasetSpec
from cir_assets.datasets.catalogue_source import CatalogueSource
from cir_assets.models.stages import COMBINER, TEXT_ENCODER
from cir_assets.retrieval.protocols import CIRR, FASHIONIQ, missing_for

BACKBONE = "tiny_clip"
RECIPE = "small"
"""What the recipe is called that fits the embedded backbone, here as in the wardrobe's YAML."""

STEPS = {TEXT_ENCODER: 500, COMBINER: 700}
"""Steps of each stage that the embedded backbone is trained for on the wardrobe; epochs are counted from them."""

BATCHES = {TEXT_ENCODER: 128, COMBINER: 256}
LEARNING_RATES = {TEXT_ENCODER: 5.0e-4, COMBINER: 4.0e-4}
EPOCHS = (2, 40)
"""At least, and at most: of few triplets more passes teach nothing."""

DATASET = "cir_assets.components.Dataset"
BACKBONES = "cir_assets.components.Backbones"


@dataclass(frozen=True)
class Fitted:
    """A data set's YAML before it is written: what stands under ``attributes``, and what was found, in sentences."""

    attributes: Mapping[str, Any]
    told: Sequence[str]

    def yaml(self, component: str = DATASET) -> str:
        """The text of a ``defs.yaml``, what was found above it as comments."""
        DatasetSpec.model_validate(self.attributes)
        return written(component, self.attributes, self.told)


def written(component: str, attributes: Mapping[str, Any], told: Sequence[str] = ()) -> str:
    """The text of a ``defs.yaml``: comments, the component's type, and its attributes."""
    comments = "".join(f"# {sentence}\n" for sentence in told)
    said = yaml.safe_dump(
        {"type": component, "attributes": dict(attributes)}, sort_keys=False, allow_unicode=True, width=110
    )
    return comments + said.replace("\nattributes:", "\n\nattributes:")


def embedded_backbones() -> str:
    """The text of the backbones' ``defs.yaml`` with the embedded one alone."""
    told = ["The dual encoders every data set here may name; docs/extending.md says what else there may be."]
    return written(BACKBONES, {"backbones": {BACKBONE: {"kind": "embedded", "place": BACKBONE}}}, told)


def fit_wardrobe(size: int = 3000) -> Fitted:
    """A small embedded data set, to try everything on."""
    train = 4 * size // 5
    return Fitted(
        {
            "description": "Rendered dresses, shirts and tops with relative captions, made from a seed.",
            "source": {"kind": "wardrobe", "size": size},
            "protocols": [FASHIONIQ.name, CIRR.name],
            "backbones": [BACKBONE],
            "recipes": {RECIPE: recipe_for(train)},
        },
        [
            "The embedded data set: nothing is downloaded. Name your own pictures and table as kind: catalogue does."
        ],
    )


def fit_catalogue(pictures: str, triplets: str | None = None) -> Fitted:
    """Look at a catalogue's pictures and table, and say what fits them.

    Args:
        pictures: folder of pictures, or a ZIP or TAR of one.
        triplets: table of triplets; None: pictures alone, which are searched zero-shot.

    Raises:
        FileNotFoundError: when one of them is not there.
        BrokenAnnotations: when the table cannot be read, naming line and mend.
    """
    source = CatalogueSource(kind="catalogue", pictures=pictures, triplets=triplets)
    source.require_files()
    with TemporaryDirectory() as folder:
        source.prepare(Path(folder))
        found = source.read(Path(folder))
    told = [f"{found.pictures.height:,} pictures found."]
    attributes: dict[str, Any] = {
        "source": source.model_dump(include={"kind", "pictures", "triplets"}, exclude_none=True),
        "backbones": [BACKBONE],
    }
    if triplets is not None:
        counts = dict(found.triplets.group_by("split").len().sort("split").iter_rows())
        named = ", ".join(f"{counts.get(split, 0):,} in {split}" for split in ("train", "val", "test"))
        told.append(f"{found.triplets.height:,} triplets found: {named}.")
        told += [f"{subject}: {detail}." for subject, detail in _assumed(found.issues)]
        judged = [split for split in ("val", "test") if counts.get(split)]
        protocols = [
            protocol.name
            for protocol in (CIRR, FASHIONIQ)
            if not any(missing_for(protocol, split, found.galleries, found.triplets) for split in judged)
        ]
        attributes["protocols"] = protocols or [FASHIONIQ.name]
        attributes["recipes"] = {RECIPE: recipe_for(counts.get("train", 0))}
    odd = found.issues.filter(pl.col("kind") != "assumed").group_by("kind").len().sort("kind")
    told += [
        f"{count:,} x {kind}: see the table data_issues once they are read." for kind, count in odd.rows()
    ]
    return Fitted(attributes, told)


def recipe_for(train: int) -> dict[str, dict[str, float | int]]:
    """Hyper-parameters that suit the embedded backbone and so many triplets of train.

    A batch is the largest power of two that train fills, and no larger than the wardrobe's; epochs make the steps
    that the wardrobe's training takes.
    """
    fitted: dict[str, dict[str, float | int]] = {}
    for stage, steps in STEPS.items():
        batch = min(BATCHES[stage], 2 ** max(1, int(math.log2(max(train, 2)))))
        epochs = min(max(math.ceil(steps * batch / max(train, batch)), EPOCHS[0]), EPOCHS[1])
        fitted[stage] = {"learning_rate": LEARNING_RATES[stage], "batch_size": batch, "epochs": epochs}
    return fitted


def _assumed(issues: pl.DataFrame) -> list[tuple[str, str]]:
    """What was assumed of how a table is read: columns under other names, what parts them."""
    return issues.filter(pl.col("kind") == "assumed").select("subject", "detail").rows()
