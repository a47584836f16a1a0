"""The Combiner's dropout: torch's own but for the speed."""

from __future__ import annotations

import pytest
import torch

from cir_assets.models.combiner import Dropout


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_share_asked_for_is_left_out_and_the_rest_scaled_up(share: float) -> None:
    torch.manual_seed(0)
    values = torch.ones(999, 1001, requires_grad=True)
    found = Dropout(share)(values)
    kept = found != 0
    assert float(kept.float().mean()) == pytest.approx(1 - share, abs=2e-3)
    torch.testing.assert_close(found[kept], torch.full_like(found[kept], 1 / (1 - share)), rtol=1e-4, atol=0)
    found.sum().backward()
    torch.testing.assert_close(values.grad, found.detach())
    # No column and no row is favoured.
    assert float((kept.float().mean(0) - (1 - share)).abs().max()) < 0.1


def test_one_seed_leaves_out_the_same_values_again_and_evaluation_none() -> None:
    dropout, values = Dropout(0.5), torch.randn(50, 7)
    torch.manual_seed(3)
    first = dropout(values)
    second = dropout(values)
    torch.manual_seed(3)
    assert torch.equal(dropout(values), first)
    assert not torch.equal(first, second)
    assert torch.equal(dropout.eval()(values), values)


def test_half_precision_stays_half() -> None:
    assert Dropout(0.5)(torch.ones(8, 8, dtype=torch.bfloat16)).dtype is torch.bfloat16
