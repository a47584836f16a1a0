"""The backbones every data set may name, from one YAML file."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
from pydantic import BaseModel

from cir_assets.components.specification import BackbonesSpec
from cir_assets.graph.assets.backbone import backbone_asset
from cir_assets.models.settings import BackboneSettings


class Backbones(dg.Component):
    """The backbones: weights on disk, pinned by hash."""

    def __init__(self, backbones: Mapping[str, BackboneSettings]) -> None:
        self.backbones = backbones

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The model the YAML file's ``attributes`` are checked against."""
        return BackbonesSpec

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Backbones:
        """The component of the folder being loaded."""
        assert isinstance(attributes, BackbonesSpec)
        return cls(attributes.backbones)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """One root asset a backbone."""
        return dg.Definitions(
            assets=[backbone_asset(name, settings) for name, settings in self.backbones.items()]
        )
