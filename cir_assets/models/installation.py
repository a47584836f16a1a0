"""How a backbone's files come to disk: from this package, a local folder, the Hub or open_clip."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cir_assets.models.settings import BackboneSettings
from cir_assets.pictures.preparing import CLIP_MEAN, CLIP_STD

EMBEDDED = Path(__file__).parent
OPEN_CLIP_CONFIG = "open_clip_config.json"
MODEL_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "preprocessor_config.json",
    OPEN_CLIP_CONFIG,
    "open_clip_model.safetensors",
    "README.md",
)
"""What is copied of a model folder: weights as safetensors only, so that nothing in them can run."""

OLD_WEIGHTS = "pytorch_model.bin"
"""Weights of older repositories; read as plain tensors and written as safetensors."""

FAMILIES = {
    "clip": "CLIP and MetaCLIP",
    "metaclip_2": "MetaCLIP 2",
    "siglip": "SigLIP, and SigLIP 2 of fixed resolution",
    "siglip2": "SigLIP 2 of flexible resolution",
}
"""What transformers calls a family (``model_type`` of its configuration) -> what people do."""


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
    mean: tuple[float, float, float] = CLIP_MEAN
    deviation: tuple[float, float, float] = CLIP_STD
    detail: Mapping[str, Any] = field(default_factory=dict)


def install_backbone(settings: BackboneSettings, destination: Path) -> None:
    """Bring a backbone's files to ``destination``; beside first, then renamed.

    Raises:
        FileNotFoundError: when the source is not there, cannot be fetched or lacks a file, with what to do.
        ValueError: when it is of a family this project does not know, or open_clip is needed and absent.
    """
    beside = destination.with_name(f".{destination.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        if settings.kind == "open_clip":
            from cir_assets.models.open_clip_backbone import write_open_clip

            write_open_clip(settings.place, str(settings.pretrained), beside)
        else:
            _copy_model(settings, _source(settings), beside)
        backbone_shape(beside)
        shutil.rmtree(destination, ignore_errors=True)
        beside.rename(destination)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _source(settings: BackboneSettings) -> Path:
    if settings.kind == "embedded":
        return EMBEDDED / settings.place
    if settings.kind == "folder":
        return Path(settings.place).expanduser()
    return _from_hub(settings)


def _copy_model(settings: BackboneSettings, source: Path, beside: Path) -> None:
    for name in MODEL_FILES:
        if (source / name).is_file():
            shutil.copy2(source / name, beside / name)
    if (beside / OPEN_CLIP_CONFIG).is_file() and (beside / "open_clip_model.safetensors").is_file():
        # Repositories of both forms hold both; open_clip's is whole by itself.
        (beside / "model.safetensors").unlink(missing_ok=True)
        (beside / "config.json").unlink(missing_ok=True)
        return
    (beside / OPEN_CLIP_CONFIG).unlink(missing_ok=True)
    if not (beside / "model.safetensors").is_file() and (source / OLD_WEIGHTS).is_file():
        _rewrite_weights(source / OLD_WEIGHTS, beside / "model.safetensors")
    missing = [name for name in ("config.json", "model.safetensors") if not (beside / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"backbone {settings.place!r}: {source} lacks {' and '.join(missing)}; it must hold a dual encoder of "
            "transformers with its tokenizer (config.json, model.safetensors, tokenizer.json, "
            f"preprocessor_config.json), or one of open_clip ({OPEN_CLIP_CONFIG}, open_clip_model.safetensors)"
        )


def _rewrite_weights(old: Path, new: Path) -> None:
    """Weights of PyTorch's own form as safetensors; nothing in them is executed."""
    import torch
    from safetensors.torch import save_file

    try:
        state = torch.load(old, map_location="cpu", weights_only=True)
        save_file({name: value.clone().contiguous() for name, value in state.items()}, new)
    except Exception as error:
        raise FileNotFoundError(
            f"{old} does not hold plain tensors ({type(error).__name__}: {error}); fetch model.safetensors of this "
            "model instead"
        ) from error


def _from_hub(settings: BackboneSettings) -> Path:
    from huggingface_hub import snapshot_download

    def fetched(files: tuple[str, ...]) -> Path:
        return Path(snapshot_download(settings.place, revision=settings.revision, allow_patterns=list(files)))

    try:
        folder = fetched(MODEL_FILES)
        weights = ("model.safetensors", "open_clip_model.safetensors")
        return folder if any((folder / name).is_file() for name in weights) else fetched((OLD_WEIGHTS,))
    except Exception as error:
        raise FileNotFoundError(
            f"backbone {settings.place!r} could not be fetched from the Hub ({type(error).__name__}); without a "
            f"net, fetch config.json, model.safetensors, preprocessor_config.json and the tokenizer files of "
            f"{settings.place} elsewhere, put them in one folder, and name it with kind: folder, "
            "place: <that folder>"
        ) from error


def weights_digest(folder: Path) -> str:
    """Version of a backbone: the digest of its configuration, weights and tokenizer files, by name."""
    content = hashlib.sha256()
    for name in sorted(MODEL_FILES):
        file = folder / name
        if name != "README.md" and file.is_file():
            content.update(name.encode())
            with file.open("rb") as stream:
                content.update(hashlib.file_digest(stream, "sha256").digest())
    return content.hexdigest()[:16]


def backbone_shape(folder: Path) -> BackboneShape:
    """Family, resolution, feature dimension and colours of a backbone, without loading weights.

    Raises:
        OSError: when its configuration is not there.
        ValueError: when it is of a family this project does not know, naming those it does.
    """
    if (folder / OPEN_CLIP_CONFIG).is_file():
        return _open_clip_shape(json.loads((folder / OPEN_CLIP_CONFIG).read_text(encoding="utf-8")))
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    family = written.get("model_type") if isinstance(written, dict) else None
    if family not in FAMILIES:
        known = ", ".join(f"{name} ({meaning})" for name, meaning in FAMILIES.items())
        raise ValueError(
            f"{folder / 'config.json'}: model_type is {family!r}, expected one of {known}; or a folder of "
            f"open_clip with {OPEN_CLIP_CONFIG}"
        )
    from transformers import AutoConfig

    preparation = folder / "preprocessor_config.json"
    said = json.loads(preparation.read_text(encoding="utf-8")) if preparation.is_file() else {}
    # Files of the Hub leave out what equals a default of their family; transformers fills it in.
    return transformers_shape(AutoConfig.from_pretrained(folder, local_files_only=True), said)


def transformers_shape(config: Any, preparation: Mapping[str, Any]) -> BackboneShape:
    """The shape of a dual encoder of transformers.

    Args:
        config: its whole configuration.
        preparation: what ``preprocessor_config.json`` says; colours are the family's where it says nothing.

    Raises:
        ValueError: when the two encoders' features are not of one dimension.
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
        mean=tuple(preparation.get("image_mean", colours[0])),
        deviation=tuple(preparation.get("image_std", colours[1])),
    )


def _open_clip_shape(config: Mapping[str, Any]) -> BackboneShape:
    model, said = config["model_cfg"], config.get("preprocess_cfg", {})
    size = model["vision_cfg"]["image_size"]
    return BackboneShape(
        "open_clip",
        "open_clip",
        int(size[0] if isinstance(size, list) else size),
        int(model["embed_dim"]),
        mean=tuple(said.get("mean", CLIP_MEAN)),
        deviation=tuple(said.get("std", CLIP_STD)),
        detail=model,
    )
