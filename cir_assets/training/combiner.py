"""Stage 2: the Combiner, trained on cached image features and once-computed text features (section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from cir_assets.engines.progress import ProgressFactory, terminal_progress
from cir_assets.models.backbone import Backbone
from cir_assets.models.combiner import Combiner
from cir_assets.models.stages import COMBINER
from cir_assets.training.loop import Trained, TrainingOutcome, Validated, run_epochs
from cir_assets.training.negatives import TargetLoss
from cir_assets.training.precision import Precision
from cir_assets.training.settings import CombinerSettings
from cir_assets.training.triplets import TrainingTriplets, epoch_batches


def train_combiner(
    backbone: Backbone,
    features: Tensor,
    triplets: TrainingTriplets,
    validation: Validated,
    settings: CombinerSettings,
    checkpoints: Path,
    progress: ProgressFactory = terminal_progress,
    text_features: Callable[[Sequence[str]], Tensor] | None = None,
) -> tuple[Combiner, TrainingOutcome]:
    """Train a Combiner on a frozen backbone; what comes back holds the weights of the best epoch.

    Every distinct caption variant is encoded once, before the first epoch, and stays on the device.

    Args:
        backbone: frozen; tuned by stage 1 or as it came.
        features: float32 (N, D), raw image features on the backbone's device.
        triplets: the train split.
        validation: scored after every epoch; ``settings.selection`` of it chooses the epoch.
        settings: the hyper-parameters.
        checkpoints: folder of this training's checkpoint; one that is there is resumed.
        progress: where it is told how far the training is.
        text_features: raw features, float32 (n, D), of captions, on the backbone's device; the backbone encodes
            them if None.

    Raises:
        ValueError: when there are fewer triplets than one batch takes.
        TrainingDiverged: when the loss is not finite.
    """
    triplets = triplets.checked(settings.batch_size)
    device = features.device
    dimension = features.shape[1]
    torch.manual_seed(settings.seed)
    combiner = Combiner(
        dimension,
        settings.projection_multiple * dimension,
        settings.hidden_multiple * dimension,
        settings.dropout,
    ).to(device)
    precision = Precision.of(settings.mixed_precision, device)
    unit_features = functional.normalize(features, dim=1)
    target_loss = TargetLoss(settings, triplets, unit_features)
    optimiser = torch.optim.Adam(
        [*combiner.parameters(), *target_loss.parameters()],
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    variants = triplets.distinct_captions()
    text_features = text_features or backbone.text_features
    text = text_features(variants.captions)
    reference = torch.from_numpy(triplets.reference).to(device)
    target = torch.from_numpy(triplets.target).to(device)

    def losses(epoch: int) -> Iterator[Tensor]:
        combiner.train()
        for batch in epoch_batches(triplets, settings.batch_size, settings.seed, epoch):
            rows = torch.from_numpy(batch.triplets).to(device)
            drawn = torch.from_numpy(variants.rows(batch)).to(device)
            with precision.autocast():
                queries = combiner(features[reference[rows]], text[drawn])
            yield target_loss(queries.float(), unit_features[target[rows]], target[rows])

    validated_image = features[validation.reference.to(device)]
    validated_text = text_features(validation.captions)

    @torch.no_grad()
    def select() -> float:
        combiner.eval()
        return validation.score(combiner(validated_image, validated_text))[settings.selection]

    def load_weights(weights: dict[str, Tensor]) -> None:
        combiner.load_state_dict(target_loss.load_weights(weights))

    outcome = run_epochs(
        COMBINER,
        Trained(
            weights=lambda: {
                **{name: value.detach().clone() for name, value in combiner.state_dict().items()},
                **target_loss.weights(),
            },
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
    return combiner.eval(), outcome
