"""The first models of a pipeline are held against CLIP as it came, and their promotion says how they stand."""

from __future__ import annotations

import pytest

from cir_assets.pipeline.judging import first_reason
from cir_assets.retrieval.bootstrap import Difference


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (Difference(29.4, 27.5, 31.2), "so they are better than CLIP as it came"),
        (
            Difference(0.0, -3.1, 3.0),
            "so nothing shows that they learnt anything: train longer, or on more triplets",
        ),
        (
            Difference(-4.0, -6.0, -2.0),
            "so they are worse than CLIP as it came: train longer, or on more triplets",
        ),
    ],
)
def test_the_first_promotion_says_what_was_learnt(difference: Difference, said: str) -> None:
    figures = f"{difference.value:+.2f} points (95 % {difference.low:+.2f} to {difference.high:+.2f})"
    assert first_reason(difference) == (
        f"the first models of this pipeline: {figures} against the zero-shot sum, {said}"
    )
