"""What must be known of a backbone before it is loaded: family, resolution, feature dimension and colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cir_assets.models.files import (
    CONFIG,
    FAMILIES,
    OPEN_CLIP_CONFIG,
    PREPARATION,
    PROCESSOR,
    BrokenModel,
    form_of,
    read_object,
)
from cir_assets.pictures.preparing import CLIP_MEAN, CLIP_STD

Colours = tuple[float, float, float]


@dataclass(frozen=True)
class BackboneShape:
    """What must be known of a backbone before it is loaded.

    Attributes:
        library: where its network comes from.
        family: ``model_type`` of transformers, or "open_clip".
        resolution: side of the square its image encoder takes, in pixels.
        feature_dimension: D, of image and text features.
        mean: of each colour over 0..1, taken off before the image encoder.
        deviation: of each colour, divided by.
        detail: the architecture as open_clip describes it; empty for transformers.
    """

    library: Literal["transformers", "open_clip"]
    family: str
    resolution: int
    feature_dimension: int
    mean: Colours = CLIP_MEAN
    deviation: Colours = CLIP_STD
    detail: Mapping[str, Any] = field(default_factory=dict)


def backbone_shape(folder: Path) -> BackboneShape:
    """Family, resolution, feature dimension and colours of a backbone, without loading weights.

    Raises:
        BrokenModel: when its configuration is absent, says nothing usable, or is of a family this project does not
            know, naming those it does.
    """
    config = folder / (OPEN_CLIP_CONFIG if form_of(folder) == "open_clip" else CONFIG)
    if not config.is_file():
        raise BrokenModel(f"{folder} holds no model: it lacks {config.name}")
    try:
        if config.name == OPEN_CLIP_CONFIG:
            return _open_clip_shape(read_object(config))
        family = read_object(config).get("model_type")
        if family not in FAMILIES:
            known = ", ".join(f"{name} ({meaning})" for name, meaning in FAMILIES.items())
            raise BrokenModel(
                f"{config}: model_type is {family!r}, expected one of {known}; or a folder of open_clip with "
                f"{OPEN_CLIP_CONFIG}"
            )
        from transformers import AutoConfig

        # Files of the Hub leave out what equals a default of their family; transformers fills it in.
        whole = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return transformers_shape(whole, _preparation(folder))
    except BrokenModel:
        raise
    except Exception as error:
        # What the libraries raise over a configuration they cannot use is of any type.
        raise BrokenModel(
            f"{config}, or {PREPARATION} beside it, does not describe a dual encoder "
            f"({type(error).__name__}: {error}); fetch them again"
        ) from error


def transformers_shape(config: Any, preparation: Mapping[str, Any]) -> BackboneShape:
    """The shape of a dual encoder of transformers.

    Args:
        config: its whole configuration.
        preparation: what ``preprocessor_config.json`` says; colours are the family's where it says nothing.

    Raises:
        ValueError: when the two encoders' features are not of one dimension, or a colour is no number.
    """
    vision, text = config.vision_config, config.text_config
    if config.model_type in ("clip", "metaclip_2"):
        dimension, colours = int(config.projection_dim), (CLIP_MEAN, CLIP_STD)
    else:
        dimension, colours = int(text.projection_size), ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        if dimension != vision.hidden_size:
            raise ValueError(
                f"image features have {vision.hidden_size} dimensions, text features {dimension}; they must agree"
            )
    if config.model_type == "siglip2":
        resolution = int(vision.num_patches**0.5) * int(vision.patch_size)
    else:
        resolution = int(vision.image_size)
    return BackboneShape(
        "transformers",
        config.model_type,
        resolution,
        dimension,
        mean=_colours(preparation.get("image_mean", colours[0])),
        deviation=_colours(preparation.get("image_std", colours[1]), above=0.0),
    )


def _preparation(folder: Path) -> Mapping[str, Any]:
    if (folder / PREPARATION).is_file():
        return read_object(folder / PREPARATION)
    said = read_object(folder / PROCESSOR).get("image_processor") if (folder / PROCESSOR).is_file() else None
    return said if isinstance(said, dict) else {}


def _open_clip_shape(config: Mapping[str, Any]) -> BackboneShape:
    model, said = config["model_cfg"], config.get("preprocess_cfg", {})
    size = model["vision_cfg"]["image_size"]
    return BackboneShape(
        "open_clip",
        "open_clip",
        int(size[0] if isinstance(size, list) else size),
        int(model["embed_dim"]),
        mean=_colours(said.get("mean", CLIP_MEAN)),
        deviation=_colours(said.get("std", CLIP_STD), above=0.0),
        detail=model,
    )


def _colours(said: Sequence[Any], above: float = -math.inf) -> Colours:
    red, green, blue = (float(value) for value in said)
    if not all(math.isfinite(value) and value > above for value in (red, green, blue)):
        raise ValueError(f"colours are {list(said)}, expected three finite numbers above {above:g}")
    return red, green, blue
