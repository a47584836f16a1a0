"""The backbones every data set may name, from one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import dagster as dg
from pydantic import BaseModel

from cir_assets.components.scaffolding import BackbonesScaffolder
from cir_assets.components.specification import BackbonesSpec
from cir_assets.components.templates import Attributes
from cir_assets.graph.assets.backbone import backbone_asset
from cir_assets.graph.resources import STORAGE
from cir_assets.models.settings import BackboneSettings


class BackbonesAttributes(Attributes[BackbonesSpec]):
    """What ``attributes`` of the backbones' ``defs.yaml`` may say, templates among it."""

    spec: ClassVar[type[BaseModel]] = BackbonesSpec


@dg.scaffold_with(BackbonesScaffolder)
class Backbones(dg.Component):
    """The backbones: weights on disk, pinned by hash."""

    def __init__(self, backbones: Mapping[str, BackboneSettings]) -> None:
        self.backbones = backbones

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The model the YAML file's ``attributes`` are checked against."""
        return BackbonesAttributes

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Backbones:
        """The component of the folder being loaded."""
        assert isinstance(attributes, BackbonesAttributes)
        return cls(attributes.filled(context).backbones)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """One root asset a backbone."""
        return dg.Definitions(
            assets=[backbone_asset(name, settings) for name, settings in self.backbones.items()],
            resources=STORAGE,
        )
