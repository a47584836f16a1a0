"""Where stage 1 takes image features from: of a frozen encoder they are looked up, row by row."""

from __future__ import annotations

import numpy as np
import torch

from cir_assets.training.pictures import CachedFeatures
from cir_assets.training.triplets import Batch
from tests.training.problems import draw_problem


def test_features_of_a_frozen_encoder_are_those_of_each_triplets_pictures() -> None:
    problem = draw_problem(16, pictures=40)
    cached = CachedFeatures(problem.features, problem.triplets, problem.validation)
    batch = Batch(np.array([5, 0, 5]), np.zeros(3, np.int64))
    [(given, reference, target)] = cached.of(iter([batch]))
    assert given is batch
    assert torch.equal(reference, problem.features[problem.triplets.reference[batch.triplets]])
    expected = problem.features[problem.triplets.target[batch.triplets]]
    assert torch.allclose(target, expected / expected.norm(dim=1, keepdim=True))
    validation, references = cached.validation()
    assert validation is problem.validation
    assert torch.equal(references, problem.features[problem.validation.reference])
