"""One YAML file, one data set with its pipelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import dagster as dg
from pydantic import BaseModel

from cir_assets.components.backbones import Backbones
from cir_assets.components.graph import dataset_definitions, pipelines_of
from cir_assets.components.loading import InvalidDefinition, at, checked_name, tree_beside
from cir_assets.components.scaffolding import DatasetScaffolder
from cir_assets.components.specification import DatasetSpec
from cir_assets.components.templates import Attributes
from cir_assets.models.settings import ModelsOf, ZeroShot
from cir_assets.training.settings import Recipe

if TYPE_CHECKING:
    from cir_assets.models.settings import BackboneSettings
    from cir_assets.pipeline.identity import Pipeline


class DatasetAttributes(Attributes[DatasetSpec]):
    """What ``attributes`` of a data set's ``defs.yaml`` may say, templates among it."""

    spec: ClassVar[type[BaseModel]] = DatasetSpec


@dg.scaffold_with(DatasetScaffolder)
class Dataset(dg.Component):
    """A data set with its backbones, recipes, protocols and schedule, from one ``defs.yaml``."""

    def __init__(
        self,
        name: str,
        spec: DatasetSpec,
        backbones: Mapping[str, BackboneSettings],
        places: Mapping[str, str],
    ) -> None:
        self.name = name
        self.spec = spec
        self.backbones = backbones
        self.places = places
        """Where each of ``models_of`` stands: file and line."""

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The model the YAML file's ``attributes`` are checked against."""
        return DatasetAttributes

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Dataset:
        """The component of the folder being loaded; the folder's name is the data set's name.

        Raises:
            InvalidDefinition: for a folder that cannot be a name, or a backbone nobody defines.
        """
        assert isinstance(attributes, DatasetAttributes)
        spec = attributes.filled(context)
        [defined] = tree_beside(context, "backbones").get_all_components(of_type=Backbones)
        backbones = defined.backbones
        for position, backbone in enumerate(spec.backbones):
            if backbone not in backbones:
                raise InvalidDefinition(
                    f"{at(context, 'backbones', position)}: attributes.backbones names {backbone!r}, which "
                    f"backbones/defs.yaml does not define; it defines {', '.join(backbones)}"
                )
        places = {name: at(context, "models_of", name) for name in spec.models_of}
        return cls(checked_name(context.path.name, context.path), spec, backbones, places)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Assets, checks, job and schedule of this data set."""
        return dataset_definitions(self.name, self.spec, self.backbones)

    def pipelines(self) -> list[Pipeline]:
        """Every combination of backbone and recipe this data set asks for."""
        return pipelines_of(self.name, self.spec, self.backbones)


def check_models_of(dataset: Dataset, datasets: Sequence[Dataset]) -> None:
    """See that every pipeline of a data set that evaluates another's models names one there is.

    Args:
        dataset: the one looked at.
        datasets: all that load.

    Raises:
        InvalidDefinition: naming file, line, what was named and what there is.
    """
    every = {pipeline.place: pipeline for dataset in datasets for pipeline in dataset.pipelines()}
    for name, wanted in dataset.spec.models_of.items():
        for backbone in dataset.spec.backbones:
            pipeline_named = every.get((wanted.dataset, backbone, wanted.recipe))
            where = f"{dataset.places[name]}: models_of.{name}"
            if pipeline_named is None or isinstance(pipeline_named.recipe, ModelsOf | ZeroShot):
                names_there = sorted(
                    "/".join(place)
                    for place, p in every.items()
                    if not isinstance(p.recipe, ModelsOf | ZeroShot)
                )
                raise InvalidDefinition(
                    f"{where} wants the models of {wanted.dataset}/{backbone}/{wanted.recipe}, which no data set "
                    f"trains or imports; there are {', '.join(names_there)}"
                )
            theirs = (
                pipeline_named.recipe.text_encoder.encoder
                if isinstance(pipeline_named.recipe, Recipe)
                else pipeline_named.recipe.encoder
            )
            if theirs != wanted.encoder:
                raise InvalidDefinition(
                    f"{where}: stage 1 of {wanted.dataset}/{backbone}/{wanted.recipe} trains encoder: {theirs}; "
                    f"say encoder: {theirs} here too, as pictures are encoded with it"
                )
