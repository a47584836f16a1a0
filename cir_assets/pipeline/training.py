"""``…/<recipe>/{text_encoder,combiner,combiner_frozen_clip}``: both stages trained, and their versions kept whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cir_assets.models.files import weights_version
from cir_assets.models.stages import COMBINER, COMBINER_FROZEN_CLIP, TEXT_ENCODER
from cir_assets.pipeline.checks import LOSS_FALLING
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.inputs import (
    load_backbone,
    load_inputs,
    load_tuned,
    model_folder,
    picture_files,
)
from cir_assets.pipeline.step import Plan, Step, Work
from cir_assets.retrieval.protocols import protocol_named
from cir_assets.store.contracts import EPOCHS, fitted
from cir_assets.store.files import clear_unfinished, write_folder_whole
from cir_assets.store.ledger import Ledger
from cir_assets.store.made import Made, versions_of
from cir_assets.store.promotions import every_champion
from cir_assets.store.tables import write_table
from cir_assets.training.settings import CombinerSettings, Recipe, TextEncoderSettings

if TYPE_CHECKING:
    from torch import Tensor

    from cir_assets.models.backbone import Backbone
    from cir_assets.models.combiner import Combiner
    from cir_assets.pipeline.inputs import PipelineInputs
    from cir_assets.training.loop import TrainingOutcome


FITTING = 2
"""Raised when ``training.fitting`` chooses otherwise from the same data."""


def text_encoder_step(pipeline: Pipeline, settings: TextEncoderSettings) -> Step:
    """Stage 1: CLIP's text encoder tuned on the sum of image and text features."""

    def plan(work: Work) -> Plan:
        ground = training_ground(work, pipeline)
        return Plan(ground.versions, lambda version: train_stage_1(ground, settings, step, version))

    step = _training_step(pipeline, TEXT_ENCODER, settings, plan)
    return step


def _training_step(
    pipeline: Pipeline,
    model: str,
    settings: TextEncoderSettings | CombinerSettings,
    plan: Callable[[Work], Plan],
) -> Step:
    """A training's step: its versions lie beside each other, and its epoch is chosen by the first protocol."""
    configuration: dict[str, Any] = {
        "settings": settings.model_dump(mode="json"),
        "protocol": protocol_named(pipeline.data.protocols[0]).identity,
    }
    if _fits_itself(pipeline):
        configuration |= {"fitting": FITTING, "settings": {"seed": settings.seed}}
    return Step(pipeline.name(model), 2, plan, configuration, keeps_versions=True)


def _fits_itself(pipeline: Pipeline) -> bool:
    """Whether a pipeline's numbers are chosen from the data."""
    return isinstance(pipeline.recipe, Recipe) and pipeline.recipe.fits_itself


@dataclass(frozen=True)
class TrainingGround:
    """What a training of a pipeline stands on; ``versions`` say what of it decides how the training goes."""

    work: Work
    pipeline: Pipeline
    backbone: Backbone
    inputs: PipelineInputs
    versions: Mapping[str, str]


def training_ground(work: Work, pipeline: Pipeline) -> TrainingGround:
    """The backbone, and what train and val hold now.

    Raises:
        NotMade: when a table it is read from is not what was made.
    """
    data = pipeline.data
    versions_of(work.storage, data.name("images"), data.name("triplets"))
    backbone = load_backbone(work, pipeline.encoded)
    inputs = load_inputs(work, pipeline.encoded, backbone)
    content = {"backbone": backbone.weights_digest, "train_and_val": inputs.content_of_splits("train", "val")}
    return TrainingGround(work, pipeline, backbone, inputs, content)


def train_stage_1(ground: TrainingGround, settings: TextEncoderSettings, step: Step, version: str) -> Made:
    """Train stage 1, or go on where a killed training stopped, and keep it as ``version``."""
    from cir_assets.models.saving import save_text_encoder
    from cir_assets.training.fitting import fit_settings, train_best
    from cir_assets.training.text_encoder import train_text_encoder

    work, pipeline, backbone, inputs = ground.work, ground.pipeline, ground.backbone, ground.inputs
    triplets = inputs.training_triplets(settings.caption_variants)
    if isinstance(pipeline.recipe, Recipe):
        # Stage 1 is for stage 2: where that cannot be trained, it is told before either is.
        triplets.checked(pipeline.recipe.combiner.batch_size)
    folder = work.storage.models(*pipeline.place, TEXT_ENCODER)
    checkpoints = folder / "checkpoints" / version
    reasons: tuple[str, ...] = ()
    if _fits_itself(pipeline):
        fitted = fit_settings(settings, triplets, inputs.features)
        settings, reasons = fitted.settings, fitted.reasons
    validation = inputs.validation(pipeline.data.protocols[0])
    pictures = picture_files(work, pipeline.encoded, inputs) if pipeline.tunes_images else None
    tunes_images = pipeline.tunes_images
    as_it_came = weights_of(backbone, tunes_images) if settings.alternatives else None

    def train(
        tried: TextEncoderSettings, checkpoint: Path
    ) -> tuple[dict[str, Tensor] | None, TrainingOutcome]:
        if as_it_came is not None:
            put_weights(backbone, as_it_came)
        outcome = train_text_encoder(
            backbone, inputs.features, triplets, validation, tried, checkpoint, work.progress, pictures
        )
        return (weights_of(backbone, tunes_images) if as_it_came is not None else None), outcome

    kept, weights, outcome, figures = train_best(settings, checkpoints, train, len(validation))
    if weights is not None:
        put_weights(backbone, weights)
    choice = told_choice(work, step, kept, figures, reasons)
    made = keep_trained(
        folder / version,
        TEXT_ENCODER,
        outcome,
        checkpoints,
        lambda beside: save_text_encoder(
            beside, backbone, {**step.configuration, **choice}, with_image_encoder=pipeline.tunes_images
        ),
        choice,
    )
    forget_old_versions(work, pipeline, TEXT_ENCODER)
    return made


def combiner_step(pipeline: Pipeline, settings: CombinerSettings, *, frozen_clip: bool) -> Step:
    """Stage 2: the network that merges both features, on stage 1's text encoder or on CLIP as it came."""
    name = COMBINER_FROZEN_CLIP if frozen_clip else COMBINER

    def plan(work: Work) -> Plan:
        ground = training_ground(work, pipeline)
        stage_1 = {} if frozen_clip else versions_of(work.storage, pipeline.name(TEXT_ENCODER))
        text_version = next(iter(stage_1.values()), ground.versions["backbone"])
        return Plan(
            {**ground.versions, **stage_1},
            lambda version: train_stage_2(ground, settings, step, version, name, text_version),
        )

    step = _training_step(pipeline, name, settings, plan)
    return step


def train_stage_2(
    ground: TrainingGround,
    settings: CombinerSettings,
    step: Step,
    version: str,
    name: str,
    text_version: str,
) -> Made:
    """Train stage 2, or go on where a killed training stopped, and keep it as ``version``.

    Text features of captions that the same text encoder, of ``text_version``, read before are taken from there.
    """
    import torch

    from cir_assets.models.saving import save_combiner
    from cir_assets.store.text_features import TextFeatures
    from cir_assets.training.combiner import train_combiner
    from cir_assets.training.fitting import fit_settings, train_best

    work, pipeline, backbone, inputs = ground.work, ground.pipeline, ground.backbone, ground.inputs
    if name == COMBINER:
        text_encoder = model_folder(work, pipeline, TEXT_ENCODER)
        inputs = load_tuned(work, pipeline, backbone, inputs, text_encoder)
    text = TextFeatures(
        work.storage.text_features(*pipeline.place, name),
        text_version,
        lambda captions: backbone.text_features(captions).cpu().numpy(),
    )
    folder = work.storage.models(*pipeline.place, name)
    checkpoints = folder / "checkpoints" / version
    triplets = inputs.training_triplets(settings.caption_variants)
    reasons: tuple[str, ...] = ()
    if _fits_itself(pipeline):
        fitted = fit_settings(settings, triplets, inputs.features)
        settings, reasons = fitted.settings, fitted.reasons
    validation = inputs.validation(pipeline.data.protocols[0])

    def train(tried: CombinerSettings, checkpoint: Path) -> tuple[Combiner, TrainingOutcome]:
        return train_combiner(
            backbone,
            inputs.features,
            triplets,
            validation,
            tried,
            checkpoint,
            work.progress,
            lambda captions: torch.from_numpy(text(captions)).to(backbone.device),
        )

    kept, network, outcome, figures = train_best(settings, checkpoints, train, len(validation))
    choice = told_choice(work, step, kept, figures, reasons)
    text.keep()
    made = keep_trained(
        folder / version,
        name,
        outcome,
        checkpoints,
        lambda beside: save_combiner(beside, network, {**step.configuration, **choice}),
        choice,
    )
    forget_old_versions(work, pipeline, name)
    work.say(f"{text.encoded:,} captions encoded, {text.reused:,} already known")
    counts = {"captions_encoded": text.encoded, "captions_known": text.reused}
    idle = {"captions_encoded": 0, "captions_known": text.encoded + text.reused}
    return replace(made, metadata={**made.metadata, **counts}, unworked={**made.unworked, **idle})


def told_choice(
    work: Work,
    step: Step,
    kept: TextEncoderSettings | CombinerSettings,
    figures: Mapping[str, float],
    reasons: Sequence[str],
) -> dict[str, Any]:
    """What was chosen from the data, said aloud: ``chosen`` and ``because``; empty where nothing was to choose."""
    if len(figures) < 2 and not reasons:
        return {}
    because = [
        *reasons,
        "on val " + ", ".join(f"{name}: {value:.2f}" for name, value in figures.items()),
    ]
    work.say(f"{step.name}: {'; '.join(because)}")
    return {"chosen": kept.model_dump(mode="json"), "because": because}


def weights_of(backbone: Backbone, with_images: bool) -> dict[str, Tensor]:
    """Copies of the text encoder's weights, and of the image encoder's where it is trained too."""
    state = {**backbone.text_state_dict(), **(backbone.image_state_dict() if with_images else {})}
    return {name: value.detach().clone() for name, value in state.items()}


def put_weights(backbone: Backbone, weights: Mapping[str, Tensor]) -> None:
    """Load weights that ``weights_of`` copied."""
    from cir_assets.models.backbone import IMAGE_ENCODER

    image = {name: value for name, value in weights.items() if name.startswith(IMAGE_ENCODER)}
    if image:
        backbone.load_image_state_dict(image)
    backbone.load_text_state_dict({name: weights[name] for name in weights.keys() - image.keys()})


def keep_trained(
    folder: Path,
    stage: str,
    outcome: TrainingOutcome,
    checkpoints: Path,
    save: Callable[[Path], None],
    choice: Mapping[str, Any],
) -> Made:
    """Save a trained model and its curve as ``folder``, whole or not at all; then drop its checkpoints.

    The version's content is the digest of its weights. ``choice`` is what ``told_choice`` says.
    """
    epochs = pl.DataFrame(
        [
            {
                "stage": stage,
                "epoch": record.epoch,
                "step": record.step,
                "loss": record.loss,
                "learning_rate": record.learning_rate,
                "selection_metric": record.selection_metric,
                "seconds": record.seconds,
            }
            for record in outcome.epochs
        ]
    ).with_columns(settings=pl.lit(json.dumps(choice) if choice else None, pl.String))
    with write_folder_whole(folder) as beside:
        save(beside)
        write_table(fitted(epochs, EPOCHS), beside, EPOCHS)
    shutil.rmtree(checkpoints, ignore_errors=True)
    best = epochs.row(by_predicate=pl.col("epoch") == outcome.best_epoch, named=True)
    return Made(
        data_version=weights_version(folder),
        metadata={
            "headline_on_val": round(best["selection_metric"], 3),
            "best_epoch": outcome.best_epoch,
            "epochs": epochs.height,
            "resumed_after_epoch": outcome.resumed_after,
            "last_loss": round(epochs["loss"][-1], 5),
            "training_seconds": round(epochs["seconds"].sum(), 1),
            "folder": {"path": str(folder)},
            "curve": {"markdown": _curve(epochs)},
            **({"chosen": choice["chosen"], "because": "; ".join(choice["because"])} if choice else {}),
        },
        checks=LOSS_FALLING(epochs["loss"].to_list()),
        files=sorted(folder.iterdir()),
        unworked={"training_seconds": 0.0},
    )


def forget_old_versions(work: Work, pipeline: Pipeline, model: str) -> list[str]:
    """Remove versions of a model that are neither among the newest nor ever were champion, of any pipeline.

    The version in use, the ledger's latest, stays too; what killed trainings left beside them goes.

    Returns:
        The versions removed.
    """
    every = work.storage.models(*pipeline.place, model)
    clear_unfinished(every)
    beside = [folder for folder in every.iterdir() if not folder.name.startswith(".")]
    left = [folder for folder in beside if folder.name == "checkpoints"]
    versions = sorted(set(beside) - set(left), key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
    kept = {
        version for name, version in every_champion(work.storage.champions) if name == pipeline.name(model)
    }
    ledger = Ledger(work.storage.ledger)
    if (latest := ledger.latest(pipeline.name(model))) is not None:
        kept.add(latest.fingerprint)
    old = [folder for folder in versions[pipeline.data.promotion.keep_versions :] if folder.name not in kept]
    for folder in (*left, *old):
        shutil.rmtree(folder)
    ledger.keep_only(
        pipeline.name(model), {folder.name for folder in versions} - {folder.name for folder in old}
    )
    return [folder.name for folder in old]


def _curve(epochs: pl.DataFrame) -> str:
    """The whole curve as a picture, and below it every epoch as a Markdown table."""
    from cir_assets.reporting.curves import curves_markdown

    lines = ["| epoch | loss | headline on val |", "|---:|---:|---:|"]
    lines += [
        f"| {epoch} | {loss:.4f} | {headline:.2f} |"
        for epoch, loss, headline in epochs.select("epoch", "loss", "selection_metric").iter_rows()
    ]
    return "\n\n".join([curves_markdown(epochs), "\n".join(lines)])
