"""``…/<recipe>/{text_encoder,combiner,combiner_frozen_clip}`` from published checkpoints, without training."""

import dagster as dg

from cir_assets.graph.step import step_asset
from cir_assets.models.stages import COMBINER, COMBINER_FROZEN_CLIP, TEXT_ENCODER
from cir_assets.pipeline.checkpoints import checkpoint_step
from cir_assets.pipeline.identity import Pipeline, backbone_name

STAGES = {
    TEXT_ENCODER: "Stage 1: CLIP's encoder as tuned there",
    COMBINER: "Stage 2: the Combiner trained on that encoder",
    COMBINER_FROZEN_CLIP: "Stage 2: the Combiner trained on CLIP as it came",
}


def checkpoint_asset(pipeline: Pipeline, model: str, file: str) -> dg.AssetsDefinition:
    """One model of a pipeline, imported when a person asks, as no condition or schedule does."""
    return step_asset(
        checkpoint_step(pipeline, model, file),
        deps=[backbone_name(pipeline.encoded.backbone)],
        of=pipeline,
        kinds={"torch", "safetensors"},
        follows=False,
        description=(
            f"{STAGES[model]}, from the published checkpoint `{file}`: read as plain tensors, nothing in it is "
            "executed, and saved as safetensors in "
            f"`storage/models/{'/'.join(pipeline.place)}/{model}/<version>/`."
        ),
    )
