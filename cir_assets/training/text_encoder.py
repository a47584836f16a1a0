"""Stage 1: CLIP's text encoder, trained on the sum of image and text features (paper section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from cir_assets.models.backbone import Backbone
from cir_assets.progress import ProgressFactory, terminal_progress
from cir_assets.training.loop import Trained, TrainingOutcome, Validated, run_epochs
from cir_assets.training.losses import contrastive_loss, summed_query
from cir_assets.training.settings import TextEncoderSettings
from cir_assets.training.triplets import TrainingTriplets, epoch_batches


def train_text_encoder(
    backbone: Backbone,
    features: Tensor,
    triplets: TrainingTriplets,
    validation: Validated,
    settings: TextEncoderSettings,
    checkpoints: Path,
    progress: ProgressFactory = terminal_progress,
) -> TrainingOutcome:
    """Tune a backbone's text encoder in place; it ends with the weights of the best epoch.

    Args:
        backbone: its image encoder is never run; its text encoder is trained in eval mode.
        features: float32 (N, D), raw image features on the backbone's device.
        triplets: the train split.
        validation: scored after every epoch; ``settings.selection`` of it chooses the epoch.
        settings: the hyper-parameters.
        checkpoints: folder of this training's checkpoint; one that is there is resumed.
        progress: where it is told how far the training is.

    Raises:
        ValueError: when there are fewer triplets than one batch takes.
        TrainingDiverged: when the loss is not finite.
    """
    triplets = triplets.checked(settings.batch_size)
    parameters = list(backbone.text_parameters())
    for parameter in parameters:
        parameter.requires_grad_(True)
    on_cuda = backbone.device.type == "cuda"
    mixed = settings.mixed_precision and on_cuda
    optimiser = torch.optim.AdamW(
        parameters,
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    variants = triplets.distinct_captions()
    tokens = backbone.tokenise(variants.captions)
    reference = torch.from_numpy(triplets.reference).to(features.device)
    target = torch.from_numpy(triplets.target).to(features.device)
    unit_features = functional.normalize(features, dim=1)

    def losses(epoch: int) -> Iterator[Tensor]:
        for batch in epoch_batches(triplets, settings.batch_size, settings.seed, epoch):
            rows = torch.from_numpy(batch.triplets).to(features.device)
            drawn = [tokens[row] for row in variants.rows(batch).tolist()]
            with torch.autocast(backbone.device.type, enabled=mixed):
                text = backbone.encode_texts(drawn)
            queries = summed_query(features[reference[rows]], text)
            yield contrastive_loss(queries, unit_features[target[rows]], settings.logit_scale)

    validated_reference = features[validation.reference.to(features.device)]

    def select() -> float:
        text = backbone.text_features(validation.captions)
        return validation.score(summed_query(validated_reference, text))[settings.selection]

    try:
        return run_epochs(
            "text_encoder",
            Trained(
                weights=backbone.text_state_dict,
                load_weights=backbone.load_text_state_dict,
                optimiser=optimiser,
                scaler=torch.amp.GradScaler(backbone.device.type, enabled=mixed),
                losses=losses,
                select=select,
            ),
            epochs=settings.epochs,
            seed=settings.seed,
            checkpoints=checkpoints,
            progress=progress,
        )
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
