"""``…/<recipe>/{text_encoder,combiner,combiner_frozen_clip}`` from published checkpoints, without training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cir_assets.models.files import weights_version
from cir_assets.models.stages import TEXT_ENCODER
from cir_assets.pipeline.backbones import install_on_first_use
from cir_assets.pipeline.identity import Pipeline, backbone_name
from cir_assets.pipeline.inputs import load_backbone
from cir_assets.pipeline.step import Plan, Step, Work
from cir_assets.pipeline.training import forget_old_versions
from cir_assets.store.digests import digest_file
from cir_assets.store.files import write_folder_whole
from cir_assets.store.made import Made, versions_of


def checkpoint_step(pipeline: Pipeline, model: str, file: str) -> Step:
    """One model of a pipeline, imported from a file of the reference implementation.

    The file is read again where its bytes, or the backbone, changed.
    """

    def plan(work: Work) -> Plan:
        source = Path(file).expanduser().absolute()
        if not source.is_file():
            raise FileNotFoundError(
                f"checkpoints.{pipeline.recipe_name}.{model} {source} is no file: fetch the published checkpoint and "
                "put it there, or correct the path in the YAML"
            )
        install_on_first_use(work, pipeline.encoded.backbone, pipeline.encoded.settings)
        versions = versions_of(work.storage, backbone_name(pipeline.encoded.backbone))
        versions["file"] = digest_file(source)

        def make(version: str) -> Made:
            folder = work.storage.models(*pipeline.place, model) / version
            made = keep_imported(folder, source, _writer(work, pipeline, model, source))
            forget_old_versions(work, pipeline, model)
            return made

        return Plan(versions, make)

    configuration = {"file": file, "tunes_images": pipeline.tunes_images}
    return Step(pipeline.name(model), 1, plan, configuration, keeps_versions=True)


def keep_imported(folder: Path, source: Path, save: Callable[[Path], int]) -> Made:
    """Save an imported model as ``folder``, whole or not at all; ``save`` gives its epoch."""
    with write_folder_whole(folder) as beside:
        epoch = save(beside)
    return Made(
        data_version=weights_version(folder),
        metadata={"epoch": epoch, "checkpoint": {"path": str(source)}, "folder": {"path": str(folder)}},
        checks={},
        files=sorted(folder.iterdir()),
    )


def _writer(work: Work, pipeline: Pipeline, model: str, source: Path) -> Callable[[Path], int]:
    from cir_assets.models.reference_checkpoints import import_reference_clip, import_reference_combiner
    from cir_assets.models.saving import ModelMismatch, save_combiner, save_text_encoder

    backbone = load_backbone(work, pipeline.encoded)
    about = {"checkpoint": source.name}

    def text_encoder(beside: Path) -> int:
        encoders = import_reference_clip(source, backbone)
        if encoders.image is not None and not pipeline.tunes_images:
            raise ModelMismatch(
                f"{source} holds an image encoder that was tuned too, so its features are not the backbone's; say "
                f"encoder: both under checkpoints.{pipeline.recipe_name} in the YAML, and pictures are encoded anew"
            )
        backbone.load_text_state_dict(encoders.text)
        if encoders.image is not None:
            backbone.load_image_state_dict(encoders.image)
        save_text_encoder(beside, backbone, about, with_image_encoder=pipeline.tunes_images)
        return encoders.epoch

    def combiner(beside: Path) -> int:
        network, epoch = import_reference_combiner(source)
        if network.feature_dimension != backbone.feature_dimension:
            raise ModelMismatch(
                f"{source} holds a Combiner for features of dimension {network.feature_dimension}, but the backbone "
                f"{pipeline.encoded.backbone} gives {backbone.feature_dimension}: name the backbone it belongs to "
                "(RN50x4 gives 640, RN50 1,024, ViT-B/32 512, ViT-L/14 768)"
            )
        save_combiner(beside, network, about)
        return epoch

    return text_encoder if model == TEXT_ENCODER else combiner
