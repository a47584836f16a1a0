"""How a backbone's files come to disk: from this package, a local folder or the Hub."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from cir_assets.models.settings import BackboneSettings

EMBEDDED = Path(__file__).parent
MODEL_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "README.md",
)
"""What is copied of a model folder: weights as safetensors only, so that nothing in them can run."""


@dataclass(frozen=True)
class BackboneShape:
    """What must be known of a backbone before it is loaded."""

    resolution: int
    feature_dimension: int


def install_backbone(settings: BackboneSettings, destination: Path) -> None:
    """Bring a backbone's files to ``destination``; beside first, then renamed.

    Raises:
        FileNotFoundError: when the source is not there or lacks a file, with what to do.
    """
    if settings.kind == "embedded":
        source = EMBEDDED / settings.place
    elif settings.kind == "folder":
        source = Path(settings.place).expanduser()
    else:
        source = _from_hub(settings)
    missing = [name for name in ("config.json", "model.safetensors") if not (source / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"backbone {settings.place!r}: {source} lacks {' and '.join(missing)}; it must hold a CLIP model of "
            "transformers with its tokenizer (config.json, model.safetensors, tokenizer.json)"
        )
    beside = destination.with_name(f".{destination.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name in MODEL_FILES:
        if (source / name).is_file():
            shutil.copy2(source / name, beside / name)
    shutil.rmtree(destination, ignore_errors=True)
    beside.rename(destination)


def _from_hub(settings: BackboneSettings) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(settings.place, revision=settings.revision, allow_patterns=list(MODEL_FILES))
        )
    except Exception as error:
        raise FileNotFoundError(
            f"backbone {settings.place!r} could not be fetched from the Hub ({type(error).__name__}); without a "
            f"net, fetch {', '.join(MODEL_FILES[:3])} of {settings.place} elsewhere, put them in one folder, and "
            "name it with kind: folder, place: <that folder>"
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
    """Resolution and feature dimension from a backbone's ``config.json``, without loading weights."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return BackboneShape(int(config["vision_config"]["image_size"]), int(config["projection_dim"]))
