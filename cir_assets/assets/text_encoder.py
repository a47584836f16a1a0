"""``…/<recipe>/text_encoder``: stage 1, CLIP's text encoder tuned on the sum of image and text features."""

import dagster as dg

from cir_assets.assets.inputs import installed_backbone, load_inputs, picture_files
from cir_assets.assets.pipeline import Pipeline
from cir_assets.assets.step import Made, Step, logged_progress, make_or_reuse
from cir_assets.assets.tables import column_schema
from cir_assets.assets.trained import forget_old_versions, trained
from cir_assets.automation import on_upstream_change
from cir_assets.models.stages import TEXT_ENCODER
from cir_assets.resources import Storage
from cir_assets.store.contracts import EPOCHS
from cir_assets.training.settings import TextEncoderSettings

GENERATION = 2


TRAINED = {
    "text": "the text encoder (embeddings, transformer, final norm, projection)",
    "image": "the image encoder",
    "both": "both encoders",
}


def text_encoder_asset(pipeline: Pipeline, settings: TextEncoderSettings) -> dg.AssetsDefinition:
    """Stage 1 of one pipeline."""
    graph, encoded = pipeline.graph, pipeline.encoded
    step = Step(
        pipeline.key(TEXT_ENCODER),
        GENERATION,
        {"settings": settings.model_dump(mode="json"), "protocol": graph.protocols[0]},
        keeps_versions=True,
    )

    @dg.asset(
        key=step.key,
        deps=[graph.key("triplets"), encoded.key("image_features")],
        group_name=graph.dataset,
        kinds={"torch", "safetensors"},
        owners=list(graph.owners),
        pool="gpu",
        code_version=step.code_version,
        automation_condition=on_upstream_change(),
        check_specs=[
            dg.AssetCheckSpec(
                "loss_falling", asset=step.key, blocking=True, description="The loss is finite and falls."
            )
        ],
        metadata={"dagster/column_schema": column_schema(EPOCHS)},
        description=(
            f"Stage 1: {TRAINED[settings.encoder]} trained so that the "
            "normalised sum of reference image feature and caption feature finds the target among the batch's "
            f"targets. The epoch with the best headline of protocol `{graph.protocols[0]}` on val is kept, as "
            f"safetensors in `storage/models/{'/'.join(pipeline.place)}/text_encoder/<version>/`, with its "
            "tokenizer: it loads without this project's training code."
        ),
    )
    def text_encoder(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        backbone = installed_backbone(storage, encoded)
        inputs = load_inputs(storage, encoded, backbone)
        versions = {
            "backbone": backbone.weights_digest,
            "train_and_val": inputs.content_of_splits("train", "val"),
        }

        def make(version: str) -> Made:
            from cir_assets.models.saving import save_text_encoder
            from cir_assets.training.text_encoder import train_text_encoder

            folder = storage.models(*pipeline.place, TEXT_ENCODER)
            checkpoints = folder / "checkpoints" / version
            outcome = train_text_encoder(
                backbone,
                inputs.features,
                inputs.training_triplets(settings.caption_variants),
                inputs.validation(graph.protocols[0]),
                settings,
                checkpoints,
                logged_progress(context),
                picture_files(storage, encoded, inputs) if pipeline.tunes_images else None,
            )
            made = trained(
                folder / version,
                TEXT_ENCODER,
                outcome,
                checkpoints,
                lambda beside: save_text_encoder(
                    beside, backbone, step.configuration, with_image_encoder=pipeline.tunes_images
                ),
            )
            forget_old_versions(storage, pipeline, TEXT_ENCODER)
            return made

        return make_or_reuse(context, storage, step, versions, make)

    return text_encoder
