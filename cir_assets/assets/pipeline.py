"""The names one pipeline's steps go by, and what its YAML says about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import dagster as dg

from cir_assets.datasets.sources import Source
from cir_assets.models.settings import BackboneSettings, ModelsOf, PublishedCheckpoints, ZeroShot
from cir_assets.models.stages import MODELS
from cir_assets.retrieval.methods import LADDER, METHODS, ZERO_SHOT, served
from cir_assets.retrieval.promotion import PromotionRule
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
    promotion: PromotionRule

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
    """A data set under one backbone and one recipe; its models are trained here, elsewhere or were published."""

    encoded: EncodedDataset
    recipe_name: str
    recipe: Recipe | ModelsOf | PublishedCheckpoints | ZeroShot

    @property
    def graph(self) -> DatasetGraph:
        """The data set."""
        return self.encoded.graph

    @property
    def place(self) -> tuple[str, str, str]:
        """Data set, backbone and recipe: what every path of this pipeline is made of."""
        return self.graph.dataset, self.encoded.backbone, self.recipe_name

    @property
    def models_place(self) -> tuple[str, str, str]:
        """Data set, backbone and recipe whose models are evaluated: this pipeline's own but for ``ModelsOf``."""
        if isinstance(self.recipe, ModelsOf):
            return self.recipe.dataset, self.encoded.backbone, self.recipe.recipe
        return self.place

    @property
    def models(self) -> tuple[str, ...]:
        """The models there are, in the ladder's order: steps of this pipeline or of the one they come from."""
        if isinstance(self.recipe, PublishedCheckpoints):
            return tuple(name for name in MODELS if getattr(self.recipe, name) is not None)
        return () if isinstance(self.recipe, ZeroShot) else MODELS

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the ladder that can be evaluated with these models."""
        return tuple(method.name for method in LADDER if set(method.models) <= set(self.models))

    @property
    def served_method(self) -> str:
        """The method that is judged and served: the Combiner where there is one, CLIP's sum where nothing is."""
        return (served(self.methods) or ZERO_SHOT).name

    @property
    def served_models(self) -> tuple[str, ...]:
        """The models that method is made of."""
        return METHODS[self.served_method].models

    @property
    def tunes_images(self) -> bool:
        """Whether stage 1 changed the image encoder, so that pictures are encoded again with it."""
        recipe = self.recipe.text_encoder if isinstance(self.recipe, Recipe) else self.recipe
        return recipe.encoder != "text"

    def key(self, step: str) -> dg.AssetKey:
        """``<dataset>/<backbone>/<recipe>/<step>``."""
        return dg.AssetKey([*self.place, step])

    def name(self, step: str) -> str:
        """``<dataset>/<backbone>/<recipe>/<step>`` as the ledger writes it."""
        return "/".join(self.key(step).path)

    def model_key(self, model: str) -> dg.AssetKey:
        """The asset that makes one of the models."""
        return dg.AssetKey([*self.models_place, model])

    def model_name(self, model: str) -> str:
        """The same as the ledger writes it."""
        return "/".join(self.model_key(model).path)

    def ranked_from(self) -> list[dg.AssetKey]:
        """The assets whose content decides how queries are ranked: triplets, features and models."""
        models = [self.model_key(model) for model in self.models]
        return [self.graph.key("triplets"), *self.feature_keys(), *models]

    def feature_keys(self) -> list[dg.AssetKey]:
        """The assets that hold features: of the backbone as it came, and of its tuned image encoder if any."""
        tuned = [self.key("image_features")] if self.tunes_images else []
        return [self.encoded.key("image_features"), *tuned]


def names(keys: Iterable[dg.AssetKey]) -> list[str]:
    """Asset keys as the ledger writes them."""
    return ["/".join(key.path) for key in keys]


def backbone_key(backbone: str) -> dg.AssetKey:
    """``backbones/<backbone>``."""
    return dg.AssetKey(["backbones", backbone])
