"""``…/<recipe>/combiner`` and ``combiner_frozen_clip``: stage 2, the network that merges the two features."""

from dataclasses import replace

import dagster as dg

from cir_assets.assets.inputs import installed_backbone, load_inputs, load_tuned, model_folder
from cir_assets.assets.pipeline import Pipeline
from cir_assets.assets.step import Made, Step, content_versions, logged_progress, make_or_reuse
from cir_assets.assets.tables import column_schema
from cir_assets.assets.trained import forget_old_versions, trained
from cir_assets.automation import on_upstream_change
from cir_assets.models.stages import COMBINER, COMBINER_FROZEN_CLIP, TEXT_ENCODER
from cir_assets.resources import Storage
from cir_assets.store.contracts import EPOCHS
from cir_assets.training.settings import CombinerSettings

GENERATION = 2


def combiner_asset(
    pipeline: Pipeline, settings: CombinerSettings, *, frozen_clip: bool
) -> dg.AssetsDefinition:
    """Stage 2 of one pipeline: on stage 1's text encoder, or on CLIP as it came (the ladder's fifth rung)."""
    graph, encoded = pipeline.graph, pipeline.encoded
    name = COMBINER_FROZEN_CLIP if frozen_clip else COMBINER
    step = Step(
        pipeline.key(name),
        GENERATION,
        {"settings": settings.model_dump(mode="json"), "protocol": graph.protocols[0]},
        keeps_versions=True,
    )
    text = "CLIP's own text features" if frozen_clip else "the text features of stage 1's encoder"

    @dg.asset(
        key=step.key,
        deps=[
            graph.key("triplets"),
            *([encoded.key("image_features")] if frozen_clip else pipeline.feature_keys()),
            *([] if frozen_clip else [pipeline.key(TEXT_ENCODER)]),
        ],
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
            f"Stage 2: the Combiner trained on cached image features and {text}, computed once for every "
            "caption variant. It predicts the target's feature as a mix of both inputs and a learnt residual. "
            f"The epoch with the best headline of protocol `{graph.protocols[0]}` on val is kept, as safetensors "
            f"in `storage/models/{'/'.join(pipeline.place)}/{name}/<version>/`."
        ),
    )
    def combiner(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        backbone = installed_backbone(storage, encoded)
        inputs = load_inputs(storage, encoded, backbone)
        versions = {
            "backbone": backbone.weights_digest,
            "train_and_val": inputs.content_of_splits("train", "val"),
        }
        if not frozen_clip:
            versions |= content_versions(storage, pipeline.name(TEXT_ENCODER))

        def make(version: str) -> Made:
            import torch

            from cir_assets.models.saving import save_combiner
            from cir_assets.store.text_features import TextFeatures
            from cir_assets.training.combiner import train_combiner

            seen = (
                inputs
                if frozen_clip
                else load_tuned(
                    storage, pipeline, backbone, inputs, model_folder(storage, pipeline, TEXT_ENCODER)
                )
            )
            text = TextFeatures(
                storage.text_features(*pipeline.place, name),
                versions["backbone" if frozen_clip else pipeline.name(TEXT_ENCODER)],
                lambda captions: backbone.text_features(captions).cpu().numpy(),
            )
            folder = storage.models(*pipeline.place, name)
            checkpoints = folder / "checkpoints" / version
            network, outcome = train_combiner(
                backbone,
                seen.features,
                seen.training_triplets(settings.caption_variants),
                seen.validation(graph.protocols[0]),
                settings,
                checkpoints,
                logged_progress(context),
                lambda captions: torch.from_numpy(text(captions)).to(backbone.device),
            )
            text.keep()
            made = trained(
                folder / version,
                name,
                outcome,
                checkpoints,
                lambda beside: save_combiner(beside, network, step.configuration),
            )
            forget_old_versions(storage, pipeline, name)
            context.log.info(f"{text.encoded:,} captions encoded, {text.reused:,} already known")
            figures = {"captions_encoded": text.encoded, "captions_known": text.reused}
            idle = {"captions_encoded": 0, "captions_known": text.encoded + text.reused}
            return replace(made, metadata={**made.metadata, **figures}, unworked={**made.unworked, **idle})

        return make_or_reuse(context, storage, step, versions, make)

    return combiner
