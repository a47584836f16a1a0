"""Batches of triplets: shuffled, whole, and decided by seed and epoch alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cir_assets.training.triplets import TrainingTriplets, epoch_batches


def triplets(captions: list[list[str]]) -> TrainingTriplets:
    rows = np.arange(len(captions))
    return TrainingTriplets(reference=rows, target=rows[::-1].copy(), captions=captions)


@given(count=st.integers(2, 200), batch=st.integers(2, 64), seed=st.integers(0, 99), epoch=st.integers(1, 9))
def test_an_epoch_takes_each_triplet_at_most_once_in_whole_batches(
    count: int, batch: int, seed: int, epoch: int
) -> None:
    batches = list(epoch_batches(triplets([["a", "b"]] * count), batch, seed, epoch))
    assert len(batches) == count // batch
    assert all(len(one.triplets) == len(one.variants) == batch for one in batches)
    taken = [row for one in batches for row in one.triplets.tolist()]
    assert len(set(taken)) == len(taken)


def test_order_and_variants_are_decided_by_seed_and_epoch_alone() -> None:
    data = triplets([["a", "b", "c", "d"]] * 100)

    def drawn(seed: int, epoch: int) -> list[tuple[int, int]]:
        np.random.seed(seed + epoch)  # the global state must not matter
        return [
            pair
            for batch in epoch_batches(data, 10, seed, epoch)
            for pair in zip(batch.triplets.tolist(), batch.variants.tolist(), strict=True)
        ]

    assert drawn(1, 5) == drawn(1, 5)
    assert drawn(1, 5) != drawn(1, 6)
    assert drawn(1, 5) != drawn(2, 5)


def test_variants_are_drawn_with_equal_probability_anew_each_epoch() -> None:
    data = triplets([["a", "b", "c", "d"]] * 1_000)
    counts = np.zeros(4)
    for epoch in range(1, 11):
        for batch in epoch_batches(data, 100, 0, epoch):
            counts += np.bincount(batch.variants, minlength=4)
    # 10,000 draws of probability 1/4: a deviation of 200 is more than four standard deviations.
    assert np.abs(counts - 2_500).max() < 200


@given(
    st.lists(
        st.lists(st.sampled_from(["is red", "is blue", "longer", "no belt", ""]), min_size=1, max_size=4),
        min_size=2,
        max_size=30,
    ),
    st.integers(1, 5),
)
def test_a_batchs_captions_are_the_drawn_variants_though_each_is_kept_once(
    captions: list[list[str]], epoch: int
) -> None:
    data = triplets(captions)
    variants = data.distinct_captions()
    assert len(set(variants.captions)) == len(variants.captions)
    for batch in epoch_batches(data, 2, 0, epoch):
        said = [variants.captions[row] for row in variants.rows(batch)]
        pairs = zip(batch.triplets, batch.variants, strict=True)
        assert said == [captions[row][variant] for row, variant in pairs]


def test_a_batch_larger_than_the_train_split_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"batch_size 4096 is more than the 3 triplets.*at most 3"):
        triplets([["a"]] * 3).checked(4096)
    assert len(triplets([["a"]] * 3).checked(3)) == 3
