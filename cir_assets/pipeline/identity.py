"""A data set, a data set under a backbone, a pipeline: what their YAML says, and the names their steps go by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cir_assets.datasets.sources import Source
from cir_assets.models.settings import BackboneSettings, ModelsOf, ReferenceCheckpoints, ZeroShot
from cir_assets.models.stages import MODELS
from cir_assets.retrieval.methods import LADDER, METHODS, ZERO_SHOT, served
from cir_assets.retrieval.promotion import PromotionRule
from cir_assets.retrieval.ranking_files import RankingFile
from cir_assets.training.settings import Recipe

BROUGHT = "rankings"
"""What stands in the place of a backbone where another system ranked."""


@dataclass(frozen=True)
class DatasetPlan:
    """A data set as its steps see it."""

    dataset: str
    source: Source
    protocols: Sequence[str]
    owners: Sequence[str]
    device: str
    encoding_batch_size: int
    decoding_workers: int
    pixel_limit: int
    hold_when_pictures_shrink_by: float
    promotion: PromotionRule
    batches: Sequence[tuple[str, int]]
    """(stage, triplets a batch takes) of all that is trained on it; empty: it needs no pictures of train and val."""
    evaluates: bool
    """Whether any model is judged on it, trained here or elsewhere."""
    backbones: Sequence[str]
    """It is encoded by."""
    rankings: Sequence[tuple[str, RankingFile]] = ()
    """Rankings another system made, by name."""
    reported: Sequence[tuple[str, str]] = ()
    """Backbone and recipe of every pipeline of it that has a report."""

    def name(self, step: str) -> str:
        """``<dataset>/<step>``: the step's name everywhere."""
        return "/".join([self.dataset, step])

    @property
    def brought(self) -> list[BroughtRanking]:
        """The rankings another system made of its queries."""
        return [BroughtRanking(self, name, ranking) for name, ranking in self.rankings]


@dataclass(frozen=True)
class BroughtRanking:
    """A ranking another system made of a data set's queries: a pipeline without models, and a method of its own."""

    data: DatasetPlan
    method: str
    ranking: RankingFile

    @property
    def place(self) -> tuple[str, str, str]:
        """What every path of it is made of, as data set, backbone and recipe are of a pipeline's."""
        return self.data.dataset, BROUGHT, self.method

    @property
    def protocol(self) -> str:
        """The protocol it was made under."""
        return self.ranking.protocol or self.data.protocols[0]

    @property
    def label(self) -> str:
        """What people read."""
        return self.ranking.label or self.method

    def name(self, step: str) -> str:
        """``<dataset>/rankings/<name>/<step>``: the step's name everywhere."""
        return "/".join([*self.place, step])


@dataclass(frozen=True)
class EncodedDataset:
    """A data set under one backbone."""

    data: DatasetPlan
    backbone: str
    settings: BackboneSettings

    def name(self, step: str) -> str:
        """``<dataset>/<backbone>/<step>``: the step's name everywhere."""
        return "/".join([self.data.dataset, self.backbone, step])


@dataclass(frozen=True)
class Pipeline:
    """A data set under one backbone and one recipe; its models are trained here, elsewhere or were published."""

    encoded: EncodedDataset
    recipe_name: str
    recipe: Recipe | ModelsOf | ReferenceCheckpoints | ZeroShot

    @property
    def data(self) -> DatasetPlan:
        """The data set."""
        return self.encoded.data

    @property
    def place(self) -> tuple[str, str, str]:
        """Data set, backbone and recipe: what every path of this pipeline is made of."""
        return self.data.dataset, self.encoded.backbone, self.recipe_name

    @property
    def group(self) -> str:
        """The group it stands in: ``<dataset>_<recipe>``, with several backbones ``<dataset>_<backbone>_<recipe>``."""
        dataset, backbone, recipe = self.place
        return "_".join([dataset, *([backbone] if len(self.data.backbones) > 1 else []), recipe])

    @property
    def models_place(self) -> tuple[str, str, str]:
        """Data set, backbone and recipe whose models are evaluated: this pipeline's own but for ``ModelsOf``."""
        if isinstance(self.recipe, ModelsOf):
            return self.recipe.dataset, self.encoded.backbone, self.recipe.recipe
        return self.place

    @property
    def models(self) -> tuple[str, ...]:
        """The models there are, in the ladder's order: steps of this pipeline or of the one they come from."""
        if isinstance(self.recipe, ReferenceCheckpoints):
            return tuple(name for name in MODELS if getattr(self.recipe, name) is not None)
        return () if isinstance(self.recipe, ZeroShot) else MODELS

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the ladder that can be evaluated with these models."""
        return tuple(method.name for method in LADDER if set(method.models) <= set(self.models))

    @property
    def served_method(self) -> str:
        """The method that serves where no val tells which is best."""
        return (served(self.methods) or ZERO_SHOT).name

    @property
    def servable_methods(self) -> tuple[str, ...]:
        """Those of which the best on val is judged and served."""
        return tuple(name for name in self.methods if METHODS[name].precedence)

    @property
    def tunes_images(self) -> bool:
        """Whether stage 1 changed the image encoder, so that pictures are encoded again with it."""
        recipe = self.recipe.text_encoder if isinstance(self.recipe, Recipe) else self.recipe
        return recipe.encoder != "text"

    def name(self, step: str) -> str:
        """``<dataset>/<backbone>/<recipe>/<step>``: the step's name everywhere."""
        return "/".join([*self.place, step])

    def model_name(self, model: str) -> str:
        """The step that makes one of the models."""
        return "/".join([*self.models_place, model])

    def ranked_from(self) -> list[str]:
        """The steps whose content decides how queries are ranked: triplets, features and models."""
        return [self.data.name("triplets"), *self.features(), *map(self.model_name, self.models)]

    def features(self) -> list[str]:
        """The steps that make features: of the backbone as it came, and of its tuned image encoder if any."""
        tuned = [self.name("image_features")] if self.tunes_images else []
        return [self.encoded.name("image_features"), *tuned]


def backbone_name(backbone: str) -> str:
    """The step that brings a backbone's weights to disk."""
    return f"backbones/{backbone}"
