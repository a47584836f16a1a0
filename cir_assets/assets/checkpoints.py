"""``…/<recipe>/{text_encoder,combiner,combiner_frozen_clip}`` from published checkpoints, without training."""

import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from cir_assets.assets.backbone import ensure_installed
from cir_assets.assets.inputs import installed_backbone, weights_version
from cir_assets.assets.pipeline import Pipeline, backbone_key
from cir_assets.assets.step import Made, Step, content_versions, make_or_reuse
from cir_assets.assets.trained import forget_old_versions
from cir_assets.models.stages import COMBINER, COMBINER_FROZEN_CLIP, TEXT_ENCODER
from cir_assets.resources import Storage
from cir_assets.store.ledger import digest_file

GENERATION = 1

STAGES = {
    TEXT_ENCODER: "Stage 1: CLIP's encoder as tuned there",
    COMBINER: "Stage 2: the Combiner trained on that encoder",
    COMBINER_FROZEN_CLIP: "Stage 2: the Combiner trained on CLIP as it came",
}


def checkpoint_asset(pipeline: Pipeline, model: str, file: str) -> dg.AssetsDefinition:
    """One model of a pipeline, imported from a file of the reference implementation.

    Made when a person asks, as no condition or schedule does; the file is read again where its bytes, or the
    backbone, changed.
    """
    graph, encoded = pipeline.graph, pipeline.encoded
    step = Step(
        pipeline.key(model),
        GENERATION,
        {"file": file, "tunes_images": pipeline.tunes_images},
        keeps_versions=True,
    )

    @dg.asset(
        key=step.key,
        deps=[backbone_key(encoded.backbone)],
        group_name=graph.dataset,
        kinds={"torch", "safetensors"},
        owners=list(graph.owners),
        code_version=step.code_version,
        description=(
            f"{STAGES[model]}, from the published checkpoint `{file}`: read as plain tensors, nothing in it is "
            "executed, and saved as safetensors in "
            f"`storage/models/{'/'.join(pipeline.place)}/{model}/<version>/`."
        ),
    )
    def checkpoint(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        source = Path(file).expanduser().absolute()
        if not source.is_file():
            raise FileNotFoundError(
                f"checkpoints.{pipeline.recipe_name}.{model} {source} is no file: fetch the published checkpoint and "
                "put it there, or correct the path in the YAML"
            )
        ensure_installed(context, storage, encoded.backbone, encoded.settings)
        versions = content_versions(storage, f"backbones/{encoded.backbone}")
        versions["file"] = digest_file(source)

        def make(version: str) -> Made:
            folder = storage.models(*pipeline.place, model) / version
            made = imported(folder, source, _writer(storage, pipeline, model, source))
            forget_old_versions(storage, pipeline, model)
            return made

        return make_or_reuse(context, storage, step, versions, make)

    return checkpoint


def imported(folder: Path, source: Path, save: Callable[[Path], int]) -> Made:
    """Save an imported model as ``folder``, whole or not at all; ``save`` gives its epoch."""
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    epoch = save(beside)
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    return Made(
        data_version=weights_version(folder),
        metadata={"epoch": epoch, "checkpoint": {"path": str(source)}, "folder": {"path": str(folder)}},
        checks={},
        files=[folder],
    )


def _writer(storage: Storage, pipeline: Pipeline, model: str, source: Path) -> Callable[[Path], int]:
    from cir_assets.models.published import import_published_clip, import_published_combiner
    from cir_assets.models.saving import ModelMismatch, save_combiner, save_text_encoder

    backbone = installed_backbone(storage, pipeline.encoded)
    about = {"checkpoint": source.name}

    def text_encoder(beside: Path) -> int:
        found = import_published_clip(source, backbone)
        if found.image is not None and not pipeline.tunes_images:
            raise ModelMismatch(
                f"{source} holds an image encoder that was tuned too, so its features are not the backbone's; say "
                f"encoder: both under checkpoints.{pipeline.recipe_name} in the YAML, and pictures are encoded anew"
            )
        backbone.load_text_state_dict(found.text)
        if found.image is not None:
            backbone.load_image_state_dict(found.image)
        save_text_encoder(beside, backbone, about, with_image_encoder=pipeline.tunes_images)
        return found.epoch

    def combiner(beside: Path) -> int:
        network, epoch = import_published_combiner(source)
        if network.feature_dimension != backbone.feature_dimension:
            raise ModelMismatch(
                f"{source} holds a Combiner for features of dimension {network.feature_dimension}, but the backbone "
                f"{pipeline.encoded.backbone} gives {backbone.feature_dimension}: name the backbone it belongs to "
                "(RN50x4 gives 640, RN50 1,024, ViT-B/32 512, ViT-L/14 768)"
            )
        save_combiner(beside, network, about)
        return epoch

    return text_encoder if model == TEXT_ENCODER else combiner
