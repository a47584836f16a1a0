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
    epoch. ``gallery``, int64 (G,), are the rows of the train galleries' pictures, every target among them, and
    ``contents``, int64 (rows of the feature matrix,), is equal where two rows show the very same picture; both
    are needed for some negatives only.
    """

    reference: NDArray[np.int64]
    target: NDArray[np.int64]
    captions: Sequence[Sequence[str]]
    gallery: NDArray[np.int64] | None = None
    contents: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """How many triplets there are."""
        return len(self.reference)

    def distinct_captions(self) -> CaptionVariants:
        """List every caption variant once, and say where each triplet's variants are among them."""
        row_of: dict[str, int] = {}
        for captions in self.captions:
            for caption in captions:
                row_of.setdefault(caption, len(row_of))
        counts = np.array([len(captions) for captions in self.captions], dtype=np.int64)
        return CaptionVariants(
            captions=list(row_of),
            first=np.cumsum(counts) - counts,
            row=np.array([row_of[c] for captions in self.captions for c in captions], dtype=np.int64),
        )

    def checked(self, batch_size: int) -> TrainingTriplets:
        """Return these triplets if at least one whole batch can be made of them.

        Raises:
            ValueError: naming both numbers, as the last incomplete batch is dropped.
        """
        if len(self) < batch_size:
            raise ValueError(
                f"batch_size {batch_size} is more than the {len(self)} triplets of the train split, and "
                f"an incomplete batch is dropped: nothing would be trained; set it to at most {len(self)}"
            )
        return self


@dataclass(frozen=True)
class Batch:
    """One step's triplets: int64 (B,) rows, and which caption variant was drawn for each."""

    triplets: NDArray[np.int64]
    variants: NDArray[np.int64]


@dataclass(frozen=True)
class CaptionVariants:
    """All caption variants of a train split, each distinct one once.

    ``row[first[i] + v]`` is the place of triplet i's variant v in ``captions``; both are int64.
    """

    captions: list[str]
    first: NDArray[np.int64]
    row: NDArray[np.int64]

    def rows(self, batch: Batch) -> NDArray[np.int64]:
        """Look up the places in ``captions`` of the variants drawn for a batch, int64 (B,)."""
        places: NDArray[np.int64] = self.row[self.first[batch.triplets] + batch.variants]
        return places


def epoch_batches(triplets: TrainingTriplets, batch_size: int, seed: int, epoch: int) -> Iterator[Batch]:
    """Yield the shuffled batches of one epoch, the last incomplete one dropped.

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
