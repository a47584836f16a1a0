"""Where stage 1 takes image features from: the cache, or pictures encoded anew by an encoder in training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cir_assets.models.backbone import Backbone
from cir_assets.pictures.decoding import decoded_batches
from cir_assets.pictures.settings import PIXEL_LIMIT, Padding, Reading
from cir_assets.training.loop import Validated
from cir_assets.training.precision import Precision
from cir_assets.training.triplets import Batch, TrainingTriplets


@dataclass(frozen=True)
class PictureFiles:
    """The pictures of the feature matrix's rows, and how they are decoded.

    Every one of them decodes: pictures that do not have no row.
    """

    paths: Sequence[Path]
    padding: Padding = "targetpad"
    target_ratio: float = 1.25
    workers: int = 2
    pixel_limit: int = PIXEL_LIMIT
    reading: Reading = "reference"


class CachedFeatures:
    """Features of a frozen image encoder: looked up, never computed again."""

    def __init__(self, features: Tensor, triplets: TrainingTriplets, validation: Validated) -> None:
        self._features = features
        self._unit = functional.normalize(features, dim=1)
        self._reference = torch.from_numpy(triplets.reference).to(features.device)
        self._target = torch.from_numpy(triplets.target).to(features.device)
        self._validation = validation
        self._validated = features[validation.reference.to(features.device)]

    def of(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        """Each batch with raw features of its references and unit-length ones of its targets, (B, D) each."""
        for batch in batches:
            rows = torch.from_numpy(batch.triplets).to(self._features.device)
            yield batch, self._features[self._reference[rows]], self._unit[self._target[rows]]

    def validation(self) -> tuple[Validated, Tensor]:
        """The validation queries, and raw features (Q, D) of their references."""
        return self._validation, self._validated


class EncodedPictures:
    """Features of an image encoder in training: pictures decoded ahead and encoded with a gradient."""

    def __init__(
        self,
        backbone: Backbone,
        files: PictureFiles,
        triplets: TrainingTriplets,
        validation: Validated,
        precision: Precision,
    ) -> None:
        self._backbone, self._files, self._triplets = backbone, files, triplets
        self._validation = validation
        self._precision = precision

    def of(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        """Each batch with raw features of its references and unit-length ones of its targets, (B, D) each.

        References and targets of a batch go through the encoder together.
        """
        every = list(batches)
        rows = np.concatenate(
            [
                np.concatenate(
                    (self._triplets.reference[batch.triplets], self._triplets.target[batch.triplets])
                )
                for batch in every
            ]
        )
        # Batches are of one size: the last incomplete one was dropped.
        pixels = self._decoded(rows, 2 * len(every[0].triplets))
        for batch in every:
            with self._precision.autocast():
                features = self._backbone.image_features_with_gradient(next(pixels))
            reference, target = features.float().chunk(2)
            yield batch, reference, functional.normalize(target, dim=1)

    @torch.no_grad()
    def validation(self) -> tuple[Validated, Tensor]:
        """The validation queries over features of the encoder as it is now, and those of their references."""
        rows = self._validation.rows()
        features = torch.zeros(
            len(self._files.paths), self._backbone.feature_dimension, device=self._backbone.device
        )
        size = 256
        for number, pixels in enumerate(self._decoded(rows.numpy(), size)):
            part = rows[number * size : number * size + len(pixels)].to(features.device)
            features[part] = self._backbone.encode_images(pixels)
        validation = self._validation.on(features)
        return validation, features[validation.reference.to(features.device)]

    def _decoded(self, rows: np.ndarray, size: int) -> Iterator[Tensor]:
        """Pixels uint8 (size, r, r, 3) of these rows' pictures, in order; the last may be shorter.

        Raises:
            ValueError: when a picture no longer decodes.
        """
        gathered: list[np.ndarray] = []
        held = 0
        for decoded in decoded_batches(
            [self._files.paths[row] for row in rows],
            resolution=self._backbone.resolution,
            padding=self._files.padding,
            target_ratio=self._files.target_ratio,
            batch_size=size,
            workers=self._files.workers,
            pixel_limit=self._files.pixel_limit,
            reading=self._files.reading,
            on_encoders_cores=self._backbone.device.type == "cpu",
        ):
            if decoded.failures:
                failure = decoded.failures[0]
                raise ValueError(
                    f"{self._files.paths[rows[failure.row]]} no longer decodes as when its feature was made "
                    f"({failure.reason}); materialize the data set's images and features again"
                )
            gathered.append(decoded.pixels)
            held += len(decoded.pixels)
            while held >= size:
                together = np.concatenate(gathered)
                yield torch.from_numpy(together[:size])
                gathered = [together[size:]]
                held -= size
        if held:
            yield torch.from_numpy(np.concatenate(gathered))
