"""The query of stage 1 and the contrastive loss, held to the reference implementation's figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from cir_assets.retrieval.methods import summed_query
from cir_assets.training.losses import contrastive_loss, similarity_logits


@pytest.fixture(scope="module")
def reference(parity: Path) -> dict[str, Tensor]:
    with np.load(parity / "stage1_loss" / "io.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def test_the_query_equals_the_references(reference: dict[str, Tensor]) -> None:
    query = summed_query(reference["image"], reference["text"])
    torch.testing.assert_close(query, reference["query"], atol=1e-5, rtol=0)


def test_logits_and_losses_equal_the_references(reference: dict[str, Tensor], parity: Path) -> None:
    queries = summed_query(reference["image"], reference["text"])
    targets = functional.normalize(reference["target"], dim=1)
    torch.testing.assert_close(similarity_logits(queries, targets), reference["logits"], atol=1e-3, rtol=0)
    by_row = [
        contrastive_loss(queries[row : row + 1], targets, labels=torch.tensor([row]))
        for row in range(len(queries))
    ]
    torch.testing.assert_close(torch.stack(by_row), reference["loss_per_row"], atol=1e-3, rtol=0)
    case = json.loads((parity / "stage1_loss" / "case.json").read_text("utf-8"))
    loss = float(contrastive_loss(queries, targets))
    assert loss == pytest.approx(case["loss"], abs=1e-3)
    assert loss == pytest.approx(case["loss_from_one_step_of_peer_training_loop"], abs=1e-3)


def test_gradients_of_the_raw_inputs_equal_the_references(reference: dict[str, Tensor]) -> None:
    image, text, target = (
        reference[name].clone().requires_grad_(True) for name in ("image", "text", "target")
    )
    contrastive_loss(summed_query(image, text), functional.normalize(target, dim=1)).backward()  # type: ignore[no-untyped-call]
    for raw, name in ((image, "grad_image"), (text, "grad_text"), (target, "grad_target")):
        assert raw.grad is not None
        torch.testing.assert_close(raw.grad, reference[name], atol=1e-4, rtol=0)


@given(seed=st.integers(0, 10_000), rows=st.integers(2, 12), scale=st.floats(1, 100))
def test_the_loss_does_not_depend_on_the_order_of_the_batch(seed: int, rows: int, scale: float) -> None:
    random = torch.Generator().manual_seed(seed)
    queries, targets = (functional.normalize(torch.randn(rows, 8, generator=random), dim=1) for _ in range(2))
    order = torch.randperm(rows, generator=random)
    loss = contrastive_loss(queries, targets, scale)
    assert float(loss) >= 0
    torch.testing.assert_close(contrastive_loss(queries[order], targets[order], scale), loss)


def test_queries_on_their_targets_lose_next_to_nothing_and_swapped_ones_the_scale() -> None:
    targets = torch.eye(2)
    assert float(contrastive_loss(targets, targets)) < 1e-6
    assert float(contrastive_loss(targets.flip(0), targets)) == pytest.approx(100.0)
