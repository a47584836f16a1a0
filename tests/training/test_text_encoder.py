"""Stage 1: what it trains, on what, and that it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from cir_assets.models.backbone import Backbone
from cir_assets.training.loop import TrainingDiverged, TrainingOutcome
from cir_assets.training.settings import TextEncoderSettings
from cir_assets.training.text_encoder import train_text_encoder
from cir_assets.training.triplets import epoch_batches
from tests.training.problems import TEXT_ENCODER, Problem, draw_problem


@pytest.fixture(scope="module")
def problem() -> Problem:
    return draw_problem(dimension=16)


def train(backbone: Backbone, problem: Problem, folder: Path, **settings: Any) -> TrainingOutcome:
    return train_text_encoder(
        backbone,
        problem.features,
        problem.triplets,
        problem.validation,
        TEXT_ENCODER.model_copy(update=settings),
        folder,
    )


def headline_of_the_sum(backbone: Backbone, problem: Problem) -> float:
    text = backbone.text_features(problem.validation.captions)
    image = problem.features[problem.validation.reference]
    return problem.validation.score(functional.normalize(image + text, dim=1))["headline"]


def test_the_loss_falls_and_the_backbone_ends_with_the_best_epochs_weights(
    backbone: Backbone, problem: Problem, tmp_path: Path
) -> None:
    before = headline_of_the_sum(backbone, problem)
    outcome = train(backbone, problem, tmp_path)
    assert outcome.epochs[-1].loss < 0.7 * outcome.epochs[0].loss
    best = max(record.selection_metric for record in outcome.epochs)
    assert headline_of_the_sum(backbone, problem) == pytest.approx(best)
    assert best > before + 10
    assert outcome.epochs[outcome.best_epoch - 1].selection_metric == best


def test_text_encoder_and_projection_are_trained_and_nothing_else(
    backbone: Backbone, problem: Problem, tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    train(backbone, problem, tmp_path, epochs=1)
    changed = {
        name for name, value in backbone.model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert {name.split(".")[0] for name in changed} == {"text_model", "text_projection"}
    assert "text_model.embeddings.position_embedding.weight" in changed
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())
    assert not backbone.model.training


def test_training_never_encodes_an_image(
    backbone: Backbone, problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("stage 1 ran the image encoder")

    monkeypatch.setattr(Backbone, "image_features_with_gradient", refuse)
    monkeypatch.setattr(Backbone, "encode_images", refuse)
    assert train(backbone, problem, tmp_path, epochs=1).best_epoch == 1


def test_an_epoch_equals_the_method_written_out_plainly(
    backbone_folder: Path, problem: Problem, tmp_path: Path
) -> None:
    settings = TextEncoderSettings(learning_rate=1e-3, batch_size=64, epochs=1, seed=4)
    trained = Backbone.load(backbone_folder, "cpu")
    outcome = train_text_encoder(
        trained, problem.features, problem.triplets, problem.validation, settings, tmp_path
    )

    plain = Backbone.load(backbone_folder, "cpu")
    modules = [plain.model.text_model, plain.model.text_projection]
    parameters = [p.requires_grad_(True) for module in modules for p in module.parameters()]
    optimiser = torch.optim.AdamW(
        parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-7, weight_decay=0.01, foreach=False
    )
    losses = []
    for batch in epoch_batches(problem.triplets, 64, seed=4, epoch=1):
        captions = [
            problem.triplets.captions[row][variant]
            for row, variant in zip(batch.triplets, batch.variants, strict=True)
        ]
        # Padded to the whole context, as the reference does.
        tokens = np.full((len(captions), plain.context_length), plain.tokenizer.eos_token_id)
        for row, ids in enumerate(plain.tokenise(captions)):
            tokens[row, : len(ids)] = ids
        text = plain.model.get_text_features(input_ids=torch.from_numpy(tokens)).pooler_output
        image = problem.features[problem.triplets.reference[batch.triplets]]
        target = problem.features[problem.triplets.target[batch.triplets]]
        query = (image + text) / (image + text).norm(dim=1, keepdim=True)
        logits = 100 * query @ (target / target.norm(dim=1, keepdim=True)).T
        loss = functional.cross_entropy(logits, torch.arange(len(logits)))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())

    assert outcome.epochs[0].step == len(losses) == len(problem.triplets) // 64
    assert outcome.epochs[0].loss == pytest.approx(np.mean(losses), rel=1e-4)
    for name, value in plain.text_state_dict().items():
        if name.endswith("k_proj.bias"):
            continue  # softmax does not see it: its gradient is rounding alone, which AdamW blows up
        torch.testing.assert_close(trained.text_state_dict()[name], value, atol=2e-4, rtol=1e-3)


def test_the_epoch_kept_is_the_best_by_the_figure_asked_for(
    backbone: Backbone, problem: Problem, tmp_path: Path
) -> None:
    outcome = train(backbone, problem, tmp_path, epochs=2, selection="harmonic_mean")
    text = backbone.text_features(problem.validation.captions)
    image = problem.features[problem.validation.reference]
    scores = problem.validation.score(functional.normalize(image + text, dim=1))
    best = outcome.epochs[outcome.best_epoch - 1].selection_metric
    assert scores["harmonic_mean"] == pytest.approx(best)
    assert scores["harmonic_mean"] != pytest.approx(scores["headline"])


def test_features_that_are_not_finite_stop_the_training_with_a_message(
    backbone: Backbone, problem: Problem, tmp_path: Path
) -> None:
    features = problem.features.clone()
    features[problem.triplets.target[0]] = torch.nan
    with pytest.raises(TrainingDiverged, match=r"text_encoder: the loss is nan at step \d+ \(epoch 1"):
        train_text_encoder(backbone, features, problem.triplets, problem.validation, TEXT_ENCODER, tmp_path)
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())


def test_too_large_a_batch_is_refused_before_anything_is_trained(
    backbone: Backbone, problem: Problem, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="batch_size 4096 is more than the 360 triplets"):
        train(backbone, problem, tmp_path, batch_size=4096)
    assert list(tmp_path.iterdir()) == []
