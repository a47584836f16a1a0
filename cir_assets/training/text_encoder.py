"""Stage 1: CLIP's text encoder, trained on the sum of image and text features (paper section 3.2).

With ``encoder: both`` or ``image`` the image encoder is trained too or instead, as in TOMM 2023.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cir_assets.engines.progress import ProgressFactory, terminal_progress
from cir_assets.models.backbone import IMAGE_ENCODER, Backbone
from cir_assets.models.stages import TEXT_ENCODER
from cir_assets.retrieval.methods import summed_query
from cir_assets.training.loop import Trained, TrainingOutcome, Validated, run_epochs
from cir_assets.training.negatives import TargetLoss
from cir_assets.training.pictures import CachedFeatures, EncodedPictures, PictureFiles
from cir_assets.training.precision import Precision
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
    pictures: PictureFiles | None = None,
) -> TrainingOutcome:
    """Tune a backbone's encoder, or both, in place; it ends with the weights of the best epoch.

    Args:
        backbone: trained in eval mode; with ``encoder: text`` its image encoder is never run.
        features: float32 (N, D), raw image features on the backbone's device.
        triplets: the train split.
        validation: scored after every epoch; ``settings.selection`` of it chooses the epoch.
        settings: the hyper-parameters.
        checkpoints: folder of this training's checkpoint; one that is there is resumed.
        progress: where it is told how far the training is.
        pictures: the files of the features' rows; needed to train the image encoder.

    Raises:
        ValueError: when there are fewer triplets than one batch takes, or the image encoder is to be trained
            without pictures.
        TrainingDiverged: when the loss is not finite.
    """
    triplets = triplets.checked(settings.batch_size)
    trains_text, trains_images = settings.encoder != "image", settings.encoder != "text"
    parameters = [
        *(backbone.text_parameters() if trains_text else ()),
        *(backbone.image_parameters() if trains_images else ()),
    ]
    for parameter in parameters:
        parameter.requires_grad_(True)
    precision = Precision.of(settings.mixed_precision, backbone.device)
    images: CachedFeatures | EncodedPictures
    if not trains_images:
        images = CachedFeatures(features, triplets, validation)
    elif pictures is not None:
        images = EncodedPictures(backbone, pictures, triplets, validation, precision)
    else:
        raise ValueError(f"encoder: {settings.encoder} trains on pictures, and none were given")
    target_loss = TargetLoss(settings, triplets, functional.normalize(features, dim=1))
    groups: list[dict[str, Any]] = [{"params": parameters}]
    groups += ({"params": [scale], "weight_decay": 0.0} for scale in target_loss.parameters())
    optimiser = torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    variants = triplets.distinct_captions()
    tokens = backbone.tokenise(variants.captions)
    validated = backbone.tokenise(validation.captions)
    target = torch.from_numpy(triplets.target).to(features.device)

    def losses(epoch: int) -> Iterator[Tensor]:
        batches = epoch_batches(triplets, settings.batch_size, settings.seed, epoch)
        for batch, reference, targets in images.of(batches):
            drawn = [tokens[row] for row in variants.rows(batch).tolist()]
            with precision.autocast():
                text = backbone.encode_texts(drawn)
            rows = torch.from_numpy(batch.triplets).to(features.device)
            yield target_loss(summed_query(reference, text), targets, target[rows])

    def select() -> float:
        queries, reference = images.validation()
        text = backbone.features_of_tokens(validated)
        return queries.score(summed_query(reference, text))[settings.selection]

    def weights() -> dict[str, Tensor]:
        return {
            **(backbone.text_state_dict() if trains_text else {}),
            **(backbone.image_state_dict() if trains_images else {}),
            **target_loss.weights(),
        }

    def load_weights(state: dict[str, Tensor]) -> None:
        state = target_loss.load_weights(state)
        image = {name: value for name, value in state.items() if name.startswith(IMAGE_ENCODER)}
        if trains_images:
            backbone.load_image_state_dict(image)
        if trains_text:
            backbone.load_text_state_dict({name: state[name] for name in state.keys() - image.keys()})

    try:
        return run_epochs(
            TEXT_ENCODER,
            Trained(
                weights=weights,
                load_weights=load_weights,
                optimiser=optimiser,
                scaler=precision.scaler(),
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
