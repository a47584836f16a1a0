"""What a target is told apart from: the batch or the whole gallery, copies left out or not, scale learnt or not."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from cir_assets.models.backbone import Backbone
from cir_assets.training.negatives import SCALE_NAME, TargetLoss
from cir_assets.training.settings import CombinerSettings, TextEncoderSettings
from cir_assets.training.text_encoder import train_text_encoder
from cir_assets.training.triplets import TrainingTriplets
from tests.training.problems import draw_problem

ROWS = torch.tensor([3, 0, 5])


def given(rows: int = 8) -> tuple[torch.Tensor, TrainingTriplets, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    features = functional.normalize(torch.randn(rows, 4, generator=random), dim=1)
    triplets = TrainingTriplets(
        reference=np.array([1, 2, 4]),
        target=ROWS.numpy(),
        captions=[["a"], ["b"], ["c"]],
        gallery=np.arange(rows - 1),
        contents=np.array([0, 1, 2, 3, 4, 3, 6, 7]),
    )
    return features, triplets, functional.normalize(torch.randn(3, 4, generator=random), dim=1)


def test_the_papers_loss_is_the_default() -> None:
    features, triplets, queries = given()
    loss = TargetLoss(CombinerSettings(), triplets, features)
    expected = functional.cross_entropy(100 * queries @ features[ROWS].T, torch.arange(3))
    assert torch.equal(loss(queries, features[ROWS], ROWS), expected)
    assert list(loss.parameters()) == []


def test_the_whole_gallery_may_be_the_negatives() -> None:
    features, triplets, queries = given()
    loss = TargetLoss(CombinerSettings(negatives="gallery", logit_scale=30), triplets, features)
    expected = functional.cross_entropy(30 * queries @ features[:7].T, ROWS)
    assert torch.allclose(loss(queries, features[ROWS], ROWS), expected)


@pytest.mark.parametrize("negatives", ["batch", "gallery"])
def test_copies_of_a_target_are_no_negatives_of_it_where_asked(negatives: str) -> None:
    features, triplets, queries = given()
    settings = CombinerSettings.model_validate({"negatives": negatives, "mask_duplicate_targets": True})
    loss = TargetLoss(settings, triplets, features)(queries, features[ROWS], ROWS)
    candidates = features[ROWS] if negatives == "batch" else features[:7]
    labels = torch.arange(3) if negatives == "batch" else ROWS
    logits = 100 * queries @ candidates.T
    # Rows 3 and 5 show the same picture, and are the targets of the first and the last query.
    logits[0, 2 if negatives == "batch" else 5] = -torch.inf
    logits[2, 0 if negatives == "batch" else 3] = -torch.inf
    assert torch.allclose(loss, functional.cross_entropy(logits, labels))


def test_a_learnt_scale_starts_where_it_is_told_and_stays_at_or_below_100() -> None:
    features, triplets, queries = given()
    loss = TargetLoss(CombinerSettings(learn_logit_scale=True, logit_scale=30), triplets, features)
    [scale] = loss.parameters()
    assert float(torch.as_tensor(loss.scale()).detach()) == pytest.approx(30, rel=1e-5)
    loss(queries, features[ROWS], ROWS).backward()  # type: ignore[no-untyped-call]
    assert scale.grad is not None
    assert scale.grad != 0
    with torch.no_grad():
        scale.fill_(math.log(1_000))
    assert float(torch.as_tensor(loss.scale()).detach()) == pytest.approx(100)
    other = TargetLoss(CombinerSettings(learn_logit_scale=True), triplets, features)
    rest = other.load_weights({**loss.weights(), "weight": scale})
    assert list(rest) == ["weight"]
    assert torch.equal(other.weights()[SCALE_NAME], loss.weights()[SCALE_NAME])


def test_a_gallery_of_changing_features_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match="use negatives: batch, or encoder: text"):
        TextEncoderSettings(negatives="gallery", encoder="both")


def test_stage_1_resumes_with_its_learnt_scale(backbone: Backbone, tmp_path: Path) -> None:
    problem = draw_problem(dimension=16)
    settings = TextEncoderSettings(
        learning_rate=1e-3, batch_size=16, epochs=2, learn_logit_scale=True, logit_scale=20
    )
    outcome = train_text_encoder(
        backbone, problem.features, problem.triplets, problem.validation, settings, tmp_path
    )
    again = train_text_encoder(
        backbone, problem.features, problem.triplets, problem.validation, settings, tmp_path
    )
    assert again.resumed_after == 2
    assert [record.loss for record in again.epochs] == [record.loss for record in outcome.epochs]
    weights = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["weights"]
    assert weights[SCALE_NAME] != pytest.approx(math.log(20), abs=1e-6)
