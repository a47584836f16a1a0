"""The rule by which a challenger is promoted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cir_assets.retrieval.bootstrap import Difference
from cir_assets.retrieval.promotion import PromotionRule

points = st.floats(-100, 100, allow_nan=False)


@pytest.mark.parametrize(
    ("difference", "promoted", "said"),
    [
        (Difference(2.0, 0.4, 3.6), True, "better on average"),
        (Difference(0.3, -0.4, 1.0), True, "+0.30 points (95 % -0.40 to +1.00)"),
        (Difference(0.3, -0.5, 1.1), False, "reaches -0.5 or below"),
        (Difference(0.0, 0.0, 0.0), False, "not better on average"),
        (Difference(-0.1, -0.3, 0.2), False, "not better on average"),
        (Difference(-4.0, -9.0, 1.0), False, "it may be worse"),
        (Difference(-4.0, -6.0, -2.0), False, "it is worse"),
        (Difference(-0.2, -0.3, -0.1), False, "it is worse"),
    ],
)
def test_by_default_it_must_not_be_worse_by_half_a_point_and_better_on_average(
    difference: Difference, promoted: bool, said: str
) -> None:
    decision, reason = PromotionRule().judge(difference)
    assert decision is promoted
    assert said in reason


def test_margin_and_average_can_be_set() -> None:
    equal = Difference(-0.2, -1.5, 1.0)
    assert not PromotionRule().judge(equal)[0]
    assert PromotionRule(margin=2, better_on_average=False).judge(equal)[0]


@given(points, points, points, st.floats(0, 10))
def test_nothing_whose_interval_reaches_below_the_margin_is_promoted(
    value: float, first: float, second: float, margin: float
) -> None:
    low, high = sorted([first, second])
    decision, _ = PromotionRule(margin=margin).judge(Difference(value, low, high))
    assert decision == (low > -margin and value > 0)


def test_a_champion_warns_before_it_is_stale() -> None:
    assert (PromotionRule().warn_after_days, PromotionRule().stale_after_days) == (30, 90)
    with pytest.raises(
        ValidationError, match="warn_after_days is 30, which must be less than stale_after_days, 7"
    ):
        PromotionRule(stale_after_days=7)


def test_fewer_than_two_versions_cannot_be_kept() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        PromotionRule(keep_versions=1)
