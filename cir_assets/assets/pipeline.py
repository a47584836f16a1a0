"""The names one pipeline's steps go by, and what its YAML says about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from cir_assets.datasets.sources import Source
from cir_assets.models.settings import BackboneSettings
from cir_assets.training.settings import Recipe


@dataclass(frozen=True)
class DatasetGraph:
    """A data set as its steps see it."""

    dataset: str
    source: Source
    protocols: Sequence[str]
    owners: Sequence[str]
    device: str
    encoding_batch_size: int
    decoding_workers: int
    pixel_limit: int

    def key(self, step: str) -> dg.AssetKey:
        """``<dataset>/<step>``."""
        return dg.AssetKey([self.dataset, step])

    def name(self, step: str) -> str:
        """``<dataset>/<step>`` as the ledger writes it."""
        return "/".join(self.key(step).path)


@dataclass(frozen=True)
class EncodedDataset:
    """A data set under one backbone."""

    graph: DatasetGraph
    backbone: str
    settings: BackboneSettings

    def key(self, step: str) -> dg.AssetKey:
        """``<dataset>/<backbone>/<step>``."""
        return dg.AssetKey([self.graph.dataset, self.backbone, step])

    def name(self, step: str) -> str:
        """``<dataset>/<backbone>/<step>`` as the ledger writes it."""
        return "/".join(self.key(step).path)


@dataclass(frozen=True)
class Pipeline:
    """A data set under one backbone and one recipe."""

    encoded: EncodedDataset
    recipe_name: str
    recipe: Recipe

    @property
    def graph(self) -> DatasetGraph:
        """The data set."""
        return self.encoded.graph

    @property
    def place(self) -> tuple[str, str, str]:
        """Data set, backbone and recipe: what every path of this pipeline is made of."""
        return self.graph.dataset, self.encoded.backbone, self.recipe_name

    def key(self, step: str) -> dg.AssetKey:
        """``<dataset>/<backbone>/<recipe>/<step>``."""
        return dg.AssetKey([*self.place, step])

    def name(self, step: str) -> str:
        """``<dataset>/<backbone>/<recipe>/<step>`` as the ledger writes it."""
        return "/".join(self.key(step).path)


def backbone_key(backbone: str) -> dg.AssetKey:
    """``backbones/<backbone>``."""
    return dg.AssetKey(["backbones", backbone])
