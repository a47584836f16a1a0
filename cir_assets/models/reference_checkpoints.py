"""Checkpoints of the reference implementation: read as plain tensors, renamed to our networks' names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cir_assets.models.backbone import Backbone
from cir_assets.models.combiner import Combiner
from cir_assets.models.saving import ModelMismatch, combiner_from_state

NEITHER = ("logit_scale", "logit_bias", "input_resolution", "context_length", "vocab_size")
"""What a CLIP checkpoint holds beside its two encoders."""


@dataclass(frozen=True)
class ReferenceEncoders:
    """A CLIP checkpoint under the names of the backbone it was read for; all tensors float32.

    ``image`` is None where the image encoder is the backbone's own: it stayed frozen.
    """

    epoch: int
    text: dict[str, Tensor]
    image: dict[str, Tensor] | None


def import_reference_combiner(checkpoint: Path) -> tuple[Combiner, int]:
    """A Combiner and its epoch from a reference checkpoint ``{"epoch": int, "Combiner": state_dict}``.

    Widths are inferred. Nothing in the file is executed: it is read as plain tensors only.

    Raises:
        ModelMismatch: when the file is something else.
    """
    state, epoch = _content(checkpoint, "Combiner")
    return combiner_from_state(state), epoch


def import_reference_clip(checkpoint: Path, backbone: Backbone) -> ReferenceEncoders:
    """Both encoders of a reference checkpoint ``{"epoch": int, "CLIP": state_dict}`` for a backbone.

    Nothing in the file is executed: it is read as plain tensors only.

    Args:
        checkpoint: the file; its parameters go by the names of OpenAI's CLIP.
        backbone: the network it was tuned from, of transformers' CLIP family or of open_clip.

    Raises:
        ModelMismatch: when the file is something else, or was tuned from another architecture, naming the first
            parameter that differs.
    """
    state, epoch = _content(checkpoint, "CLIP")
    state = {name: value for name, value in state.items() if not name.startswith(NEITHER)}
    if backbone.shape.family == "clip":
        state = _as_transformers(state)
    elif backbone.shape.family != "open_clip":
        raise ModelMismatch(
            f"{checkpoint} holds a CLIP of OpenAI's form, and this backbone is of family {backbone.shape.family}; "
            "name the backbone it was tuned from"
        )
    own_text, own_image = backbone.text_state_dict(), backbone.image_state_dict()
    for name in sorted(own_text.keys() | own_image.keys() | state.keys()):
        if name.endswith("num_batches_tracked"):
            continue
        ours, theirs = own_text.get(name, own_image.get(name)), state.get(name)
        if ours is None or theirs is None or ours.shape != theirs.shape:
            raise ModelMismatch(
                f"{checkpoint} was tuned from another architecture: {name} is {_shape(theirs)} there and "
                f"{_shape(ours)} in this backbone (D = {backbone.feature_dimension}, {backbone.resolution} px); "
                "name the backbone it belongs to"
            )
    image = {name: state.get(name, own) for name, own in own_image.items()}
    # Checkpoints are kept in half precision at places: what differs by its rounding alone is the same.
    frozen = all(torch.allclose(image[name], own, rtol=1e-2, atol=1e-3) for name, own in own_image.items())
    return ReferenceEncoders(epoch, {name: state[name] for name in own_text}, None if frozen else image)


def _content(checkpoint: Path, key: str) -> tuple[dict[str, Tensor], int]:
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = {name: value.float() for name, value in content[key].items()}
        return state, int(content["epoch"])
    except Exception as error:
        raise ModelMismatch(
            f"{checkpoint} is not a published {key} checkpoint, a file of plain tensors with the keys 'epoch' "
            f"and {key!r} ({type(error).__name__}: {error})"
        ) from error


def _as_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's names of a ViT CLIP as transformers'."""
    renamed: dict[str, Tensor] = {}
    whole = {
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "ln_final.weight": "text_model.final_layer_norm.weight",
        "ln_final.bias": "text_model.final_layer_norm.bias",
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
        "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
        "visual.ln_post.weight": "vision_model.post_layernorm.weight",
        "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    }
    transposed = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}
    for name, value in state.items():
        tower = "vision_model" if name.startswith("visual.") else "text_model"
        block, inside, parameter = name.removeprefix("visual.").partition("transformer.resblocks.")
        if name in whole:
            renamed[whole[name]] = value
        elif name in transposed:
            renamed[transposed[name]] = value.T.contiguous()
        elif inside and not block:
            number, _, rest = parameter.partition(".")
            renamed |= {
                f"{tower}.encoder.layers.{number}.{theirs}": part
                for theirs, part in _layer_parameter(rest, value)
            }
        else:
            # Left as it is: the comparison with the backbone tells it by name.
            renamed[name] = value
    return renamed


def _layer_parameter(name: str, value: Tensor) -> list[tuple[str, Any]]:
    """One parameter of a residual block; query, key and value are stacked in one there."""
    if name.startswith("attn.in_proj_"):
        kind = name.removeprefix("attn.in_proj_")
        return [
            (f"self_attn.{part}_proj.{kind}", chunk.contiguous())
            for part, chunk in zip("qkv", value.chunk(3), strict=True)
        ]
    for theirs, ours in (
        ("attn.out_proj.", "self_attn.out_proj."),
        ("ln_1.", "layer_norm1."),
        ("ln_2.", "layer_norm2."),
        ("mlp.c_fc.", "mlp.fc1."),
        ("mlp.c_proj.", "mlp.fc2."),
    ):
        if name.startswith(theirs):
            return [(ours + name.removeprefix(theirs), value)]
    return [(name, value)]


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else "x".join(map(str, tensor.shape))
