"""Stage 2: the Combiner learns on frozen features, each caption variant encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cir_assets.models.backbone import Backbone
from cir_assets.models.combiner import Combiner
from cir_assets.training.combiner import train_combiner
from cir_assets.training.loop import TrainingOutcome
from cir_assets.training.settings import CombinerSettings
from cir_assets.training.triplets import epoch_batches
from tests.training.problems import COMBINER, Problem, draw_problem


@pytest.fixture(scope="module")
def problem() -> Problem:
    return draw_problem(dimension=16)


def train(
    backbone: Backbone, problem: Problem, folder: Path, **settings: Any
) -> tuple[Combiner, TrainingOutcome]:
    return train_combiner(
        backbone,
        problem.features,
        problem.triplets,
        problem.validation,
        COMBINER.model_copy(update=settings),
        folder,
    )


def headline(combiner: Combiner, backbone: Backbone, problem: Problem) -> float:
    text = backbone.text_features(problem.validation.captions)
    image = problem.features[problem.validation.reference]
    with torch.no_grad():
        return problem.validation.score(combiner(image, text))["headline"]


def test_the_loss_falls_and_the_best_epochs_combiner_comes_back(
    backbone: Backbone, problem: Problem, tmp_path: Path
) -> None:
    combiner, outcome = train(backbone, problem, tmp_path)
    assert outcome.epochs[-1].loss < 0.7 * outcome.epochs[0].loss
    best = max(record.selection_metric for record in outcome.epochs)
    assert headline(combiner, backbone, problem) == pytest.approx(best)
    assert best > outcome.epochs[0].selection_metric
    assert not combiner.training


def test_the_combiners_widths_are_multiples_of_the_feature_dimension(
    backbone: Backbone, problem: Problem, tmp_path: Path
) -> None:
    combiner, _ = train(backbone, problem, tmp_path, epochs=1, projection_multiple=3, hidden_multiple=5)
    assert (combiner.feature_dimension, combiner.projection_dimension) == (16, 48)
    assert combiner.hidden_dimension == 80


def test_clip_stays_as_it_was(backbone: Backbone, problem: Problem, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    train(backbone, problem, tmp_path, epochs=1)
    assert all(torch.equal(value, before[name]) for name, value in backbone.model.state_dict().items())


def test_each_distinct_variant_is_encoded_once_however_many_epochs(
    backbone: Backbone, problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[tuple[int, ...]] = []
    kind = type(backbone)
    encode = kind.encode_texts

    def counted(self: Backbone, tokens: Sequence[Sequence[int]]) -> Tensor:
        encoded.extend(tuple(ids) for ids in tokens)
        return encode(self, tokens)

    monkeypatch.setattr(kind, "encode_texts", counted)
    train(backbone, problem, tmp_path, epochs=3)
    variants = {caption for captions in problem.triplets.captions for caption in captions}
    assert len(encoded) == len(variants) + len(set(problem.validation.captions))


def test_an_epoch_equals_the_method_written_out_plainly(
    backbone: Backbone, problem: Problem, tmp_path: Path
) -> None:
    settings = CombinerSettings(
        learning_rate=1e-3,
        batch_size=64,
        epochs=1,
        projection_multiple=2,
        hidden_multiple=2,
        dropout=0,
        seed=9,
    )
    trained, outcome = train_combiner(
        backbone, problem.features, problem.triplets, problem.validation, settings, tmp_path
    )
    torch.manual_seed(9)
    plain = Combiner(16, 32, 32, dropout=0)
    optimiser = torch.optim.Adam(plain.parameters(), lr=1e-3, foreach=False)
    losses = []
    for batch in epoch_batches(problem.triplets, 64, seed=9, epoch=1):
        captions = [
            problem.triplets.captions[row][variant]
            for row, variant in zip(batch.triplets, batch.variants, strict=True)
        ]
        with torch.no_grad():
            text = backbone.encode_texts(backbone.tokenise(captions))
        image = problem.features[problem.triplets.reference[batch.triplets]]
        target = functional.normalize(problem.features[problem.triplets.target[batch.triplets]], dim=1)
        loss = functional.cross_entropy(100 * plain(image, text) @ target.T, torch.arange(64))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert outcome.epochs[0].loss == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], value, atol=2e-4, rtol=1e-3)


def test_dropout_is_drawn_anew_but_alike_in_every_training_of_one_seed(
    backbone: Backbone, problem: Problem, tmp_path: Path
) -> None:
    first, _ = train(backbone, problem, tmp_path / "first", epochs=2)
    torch.rand(100)
    second, _ = train(backbone, problem, tmp_path / "second", epochs=2)
    other, _ = train(backbone, problem, tmp_path / "other", epochs=2, seed=1)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert not torch.equal(first.combiner_layer.weight, other.combiner_layer.weight)


def test_too_large_a_batch_is_refused_with_what_to_set(
    backbone: Backbone, problem: Problem, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="set it to at most 360"):
        train(backbone, problem, tmp_path, batch_size=4096)
