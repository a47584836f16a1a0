"""``…/<recipe>/text_encoder``: stage 1, CLIP's text encoder tuned on the sum of image and text features."""

import dagster as dg

from cir_assets.graph.columns import column_schema
from cir_assets.graph.step import step_asset
from cir_assets.pipeline.checks import LOSS_FALLING
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.training import text_encoder_step
from cir_assets.store.contracts import EPOCHS
from cir_assets.training.settings import TextEncoderSettings

TRAINED = {
    "text": "the text encoder (embeddings, transformer, final norm, projection)",
    "image": "the image encoder",
    "both": "both encoders",
}


def text_encoder_asset(pipeline: Pipeline, settings: TextEncoderSettings) -> dg.AssetsDefinition:
    """Stage 1 of one pipeline."""
    data = pipeline.data
    return step_asset(
        text_encoder_step(pipeline, settings),
        deps=[data.name("triplets"), pipeline.encoded.name("image_features")],
        of=pipeline,
        kinds={"torch", "safetensors"},
        pool="gpu",
        checks=[LOSS_FALLING],
        columns=column_schema(EPOCHS),
        description=(
            f"Stage 1: {TRAINED[settings.encoder]} trained so that the "
            "normalised sum of reference image feature and caption feature finds the target among the batch's "
            f"targets. The epoch with the best headline of protocol `{data.protocols[0]}` on val is kept, as "
            f"safetensors in `storage/models/{'/'.join(pipeline.place)}/text_encoder/<version>/`, with its "
            "tokenizer: it loads without this project's training code."
        ),
    )
