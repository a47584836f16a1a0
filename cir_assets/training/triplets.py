"""Triplets as training sees them: rows of the feature matrix and caption variants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TrainingTriplets:
    """N triplets; ``reference`` and ``target`` are int64 (N,) rows of the feature matrix.

    ``captions[i]`` holds the variants triplet i's caption is drawn from, with equal probability, anew each
    epoch.
    """

    reference: NDArray[np.int64]
    target: NDArray[np.int64]
    captions: Sequence[Sequence[str]]

    def __len__(self) -> int:
        """How many triplets there are."""
        return len(self.reference)

    def checked(self, batch_size: int) -> TrainingTriplets:
        """These triplets, if at least one whole batch can be made of them.

        Raises:
            ValueError: naming both numbers, as the last incomplete batch is dropped.
        """
        if len(self) < batch_size:
            raise ValueError(
                f"batch_size {batch_size} is more than the {len(self)} triplets of the train split, and an "
                f"incomplete batch is dropped: nothing would be trained; set batch_size to {len(self)} or less"
            )
        return self


@dataclass(frozen=True)
class Batch:
    """One step's triplets: int64 (B,) rows, and which caption variant was drawn for each."""

    triplets: NDArray[np.int64]
    variants: NDArray[np.int64]


def epoch_batches(triplets: TrainingTriplets, batch_size: int, seed: int, epoch: int) -> Iterator[Batch]:
    """The shuffled batches of one epoch, the last incomplete one dropped.

    Order and caption variants depend on ``(seed, epoch)`` alone, so a resumed training sees what an
    unbroken one sees.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(triplets))
    draws = random.random(len(triplets))
    counts = np.array([len(variants) for variants in triplets.captions])
    drawn = (draws * counts).astype(np.int64)
    for start in range(0, len(order) - batch_size + 1, batch_size):
        rows = order[start : start + batch_size]
        yield Batch(rows, drawn[rows])
