"""A network is loaded to be asked: frozen, without dropout, on the device it was moved to."""

from __future__ import annotations

from cir_assets.models.installation import EMBEDDED
from cir_assets.models.shape import backbone_shape
from cir_assets.models.transformers_network import load_transformers


def test_a_network_is_frozen_and_in_eval_mode_and_moves_whole() -> None:
    folder = EMBEDDED / "tiny_clip"
    network = load_transformers(folder, backbone_shape(folder))
    assert not network.model.training
    assert not any(parameter.requires_grad for parameter in network.model.parameters())
    network.to("meta")
    assert {parameter.device.type for parameter in network.model.parameters()} == {"meta"}
    assert network.device.type == "meta"
