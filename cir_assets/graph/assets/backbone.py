"""``backbones/<backbone>``: a backbone's weights on disk, pinned by hash."""

import dagster as dg

from cir_assets.graph.step import step_asset
from cir_assets.models.settings import BackboneSettings
from cir_assets.pipeline.backbones import backbone_step
from cir_assets.pipeline.checks import WEIGHTS_COMPLETE


def backbone_asset(backbone: str, settings: BackboneSettings) -> dg.AssetsDefinition:
    """The asset that brings one backbone's weights to disk."""
    return step_asset(
        backbone_step(backbone, settings),
        of="backbones",
        kinds={"huggingface", "safetensors"},
        checks=[WEIGHTS_COMPLETE],
        description=(
            f"Weights, tokenizer and configuration of the dual encoder `{backbone}`, in "
            f"`storage/backbones/{backbone}/`. Its version is the hash of those files."
        ),
    )
