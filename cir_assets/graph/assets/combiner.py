"""``…/<recipe>/combiner`` and ``combiner_frozen_clip``: stage 2, the network that merges the two features."""

import dagster as dg

from cir_assets.graph.columns import column_schema
from cir_assets.graph.step import step_asset
from cir_assets.models.stages import TEXT_ENCODER
from cir_assets.pipeline.checks import LOSS_FALLING
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.training import combiner_step
from cir_assets.store.contracts import EPOCHS
from cir_assets.training.settings import CombinerSettings


def combiner_asset(
    pipeline: Pipeline, settings: CombinerSettings, *, frozen_clip: bool
) -> dg.AssetsDefinition:
    """Stage 2 of one pipeline: on stage 1's text encoder, or on CLIP as it came (the ladder's fifth rung)."""
    data, step = pipeline.data, combiner_step(pipeline, settings, frozen_clip=frozen_clip)
    text = "CLIP's own text features" if frozen_clip else "the text features of stage 1's encoder"
    features = [pipeline.encoded.name("image_features")] if frozen_clip else pipeline.features()
    return step_asset(
        step,
        deps=[data.name("triplets"), *features, *([] if frozen_clip else [pipeline.name(TEXT_ENCODER)])],
        of=pipeline,
        kinds={"torch", "safetensors"},
        pool="gpu",
        checks=[LOSS_FALLING],
        columns=column_schema(EPOCHS),
        description=(
            f"Stage 2: the Combiner trained on cached image features and {text}, computed once for every "
            "caption variant. It predicts the target's feature as a mix of both inputs and a learnt residual. "
            f"The epoch with the best headline of protocol `{data.protocols[0]}` on val is kept, as safetensors "
            f"in `storage/models/{step.name}/<version>/`."
        ),
    )
