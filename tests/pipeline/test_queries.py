"""Every method's queries, made of captions that each text encoder reads once."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from cir_assets.pipeline.inputs import load_backbone, load_inputs
from cir_assets.pipeline.queries import method_queries
from cir_assets.retrieval.methods import METHODS
from tests.pipeline.conftest import ByHand


def test_each_method_has_a_query_of_unit_length_for_each_caption(by_hand: ByHand) -> None:
    encoded = by_hand.pipeline.encoded
    backbone = load_backbone(by_hand.work, encoded)
    inputs = load_inputs(by_hand.work, encoded, backbone)
    asked = {(split, "fashioniq"): inputs.query_groups("fashioniq", split) for split in ("val", "test")}
    with mock.patch.object(backbone, "text_features", wraps=backbone.text_features) as reading:
        found = list(
            method_queries(by_hand.work, by_hand.pipeline, backbone, inputs, asked, by_hand.pipeline.methods)
        )
    assert [(each.method, each.split) for each in found] == [
        (method, split) for method in METHODS for split in ("val", "test")
    ]
    for each in found:
        assert each.queries.shape == (8, 128)
        assert torch.linalg.vector_norm(each.queries, dim=1).numpy() == pytest.approx(1, abs=1e-5)
        assert (each.text_weight is not None) == any(
            "combiner" in model for model in METHODS[each.method].models
        )
    # By CLIP as it came and by stage 1's encoder, each caption once.
    assert reading.call_count == 2
    assert all(len(set(call.args[0])) == len(call.args[0]) for call in reading.call_args_list)
