"""How trained models lie on disk: safetensors and config.json, loadable without this project's training code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cir_assets.models.backbone import Backbone
from cir_assets.models.combiner import Combiner
from cir_assets.models.files import (
    CONFIG,
    WEIGHTS,
    BrokenModel,
    read_object,
    require_version,
    weights_version,
)
from cir_assets.models.stages import COMBINER, COMBINERS

IMAGE_WEIGHTS = "image_encoder.safetensors"
FORMAT = {"format": "pt"}
"""Without it transformers 4 does not open safetensors. One key alone, so that equal weights give equal bytes."""


class ModelMismatch(ValueError):
    """A saved model that does not fit what it is to be used with; the message names both sides."""


def save_text_encoder(
    folder: Path, backbone: Backbone, about: Mapping[str, Any], *, with_image_encoder: bool = False
) -> None:
    """Write the text encoder's weights, its configuration and its tokenizer into an existing folder.

    With the image encoder, where it was tuned too, as ``image_encoder.safetensors``.

    ``model.safetensors`` holds them under the network's own names: of CLIP, ``text_model.*`` and
    ``text_projection.*``, which load into transformers' ``CLIPTextModelWithProjection``. ``config.json`` holds the
    weights' version, by which a file that changed later is known.
    """
    save_file(backbone.text_state_dict(), folder / WEIGHTS, FORMAT)
    if with_image_encoder:
        save_file(backbone.image_state_dict(), folder / IMAGE_WEIGHTS, FORMAT)
    versions = {"backbone": backbone.weights_digest, "weights": weights_version(folder)}
    backbone.save_text_companions(folder, {**about, **versions})


def load_text_encoder(folder: Path, backbone: Backbone) -> None:
    """Put a saved text encoder into its backbone, and the image encoder that was tuned with it, if any.

    Raises:
        BrokenModel: when its weights cannot be read, or are not those that were saved.
        ModelMismatch: when it was tuned from another backbone.
    """
    _require_own_weights(folder)
    text = _weights(folder / WEIGHTS)
    image = _weights(folder / IMAGE_WEIGHTS) if (folder / IMAGE_WEIGHTS).is_file() else None
    try:
        backbone.load_text_state_dict(text)
        if image is not None:
            backbone.load_image_state_dict(image)
    except ValueError as error:
        raise ModelMismatch(f"{folder}: {error}") from error


def save_combiner(folder: Path, combiner: Combiner, about: Mapping[str, Any]) -> None:
    """Write a Combiner's weights and widths into an existing folder."""
    save_file(
        {name: value.detach().cpu().contiguous() for name, value in combiner.state_dict().items()},
        folder / WEIGHTS,
        FORMAT,
    )
    config = {
        "model_type": COMBINER,
        "feature_dimension": combiner.feature_dimension,
        "projection_dimension": combiner.projection_dimension,
        "hidden_dimension": combiner.hidden_dimension,
        "cir_assets": {**about, "weights": weights_version(folder)},
    }
    text = json.dumps(config, indent=2, sort_keys=True, default=str)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def load_combiner(folder: Path, feature_dimension: int | None = None) -> Combiner:
    """A saved Combiner in eval mode; its widths are read off the weights.

    Raises:
        BrokenModel: when its weights cannot be read, or are not those that were saved.
        ModelMismatch: when ``feature_dimension`` is given and it merges features of another.
    """
    _require_own_weights(folder)
    combiner = combiner_from_state(_weights(folder / WEIGHTS))
    if feature_dimension is not None and combiner.feature_dimension != feature_dimension:
        raise ModelMismatch(
            f"{folder} holds a Combiner for features of dimension {combiner.feature_dimension}, but the backbone "
            f"gives {feature_dimension}; train a Combiner for this backbone, or name the backbone it belongs to"
        )
    return combiner


def load_combiners(folders: Mapping[str, Path], feature_dimension: int) -> dict[str, Combiner]:
    """The Combiners among some saved models, name -> folder, by name and in eval mode.

    Raises:
        ModelMismatch: as :func:`load_combiner`.
    """
    return {
        name: load_combiner(folder, feature_dimension)
        for name, folder in folders.items()
        if name in COMBINERS
    }


def combiner_from_state(state: Mapping[str, torch.Tensor]) -> Combiner:
    """A Combiner in eval mode from parameters under the published names, widths inferred.

    Raises:
        ModelMismatch: when a parameter is absent or of an impossible shape.
    """
    try:
        projection, feature = state["text_projection_layer.weight"].shape
        hidden = state["combiner_layer.weight"].shape[0]
        combiner = Combiner(feature, projection, hidden)
        combiner.load_state_dict(dict(state))
    except (KeyError, ValueError, RuntimeError) as error:
        raise ModelMismatch(
            f"these are not a Combiner's parameters ({error}); expected text_projection_layer, "
            "image_projection_layer, combiner_layer, output_layer, dynamic_scalar.0 and dynamic_scalar.3"
        ) from error
    return combiner.eval()


def _require_own_weights(folder: Path) -> None:
    """Hold weights against the version written beside them; models saved before it was written have none."""
    about = read_object(folder / CONFIG).get("cir_assets") if (folder / CONFIG).is_file() else None
    if isinstance(about, dict) and "weights" in about:
        require_version(folder, str(about["weights"]))


def _weights(file: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(file)
    except (FileNotFoundError, SafetensorError) as error:
        raise BrokenModel(
            f"{file.parent} holds no readable {file.name} ({error}); materialize the model again"
        ) from error
