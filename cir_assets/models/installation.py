"""How a backbone's files come to disk: from this package, a local folder, the Hub or open_clip."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from cir_assets.models.files import (
    CONFIG,
    FAMILIES,
    INDEX,
    OLD_INDEX,
    OLD_WEIGHTS,
    OPEN_CLIP_CONFIG,
    OPEN_CLIP_WEIGHTS,
    PREPARATION,
    PROCESSOR,
    SMALL_FILES,
    WEIGHTS,
    BrokenModel,
    family_of,
    form_of,
    model_files,
    read_object,
    require_whole,
    weights_digest,
    weights_of,
)
from cir_assets.models.settings import BackboneSettings
from cir_assets.store.digests import digest_file
from cir_assets.store.files import write_folder_whole

EMBEDDED = Path(__file__).parent


def install_backbone(settings: BackboneSettings, destination: Path) -> list[str]:
    """Bring a backbone's files to ``destination``; beside first, loaded once, then renamed.

    Returns:
        What a person should know of it: what was ignored or taken for granted, a sentence each.

    Raises:
        BrokenModel: when the source is not there, cannot be fetched, lacks a file, does not load, or is of a family
            this project does not know, with what to do; what was installed before stays.
        OSError: when a file that is there cannot be read, or the disk is full.
    """
    from cir_assets.models.backbone import Backbone

    with write_folder_whole(destination) as beside:
        if settings.kind == "open_clip":
            from cir_assets.models.open_clip_network import write_open_clip

            source, pretrained = beside, str(settings.pretrained)
            remarks = [write_open_clip(settings.place, pretrained, beside, quick_gelu=settings.quick_gelu)]
        else:
            source = _local(settings) or _from_hub(settings)
            require_whole(source, to_install=True)
            _copy_model(source, beside)
            remarks = _remarks(beside)
        try:
            Backbone.load(beside)
        except BrokenModel as error:
            raise BrokenModel(str(error).replace(str(beside), str(source))) from error
    return remarks


def source_version(settings: BackboneSettings) -> str | None:
    """Version of the files a backbone is installed from; None where they are not on this machine, or gone.

    Raises:
        BrokenModel: when it cannot be told which files those are.
    """
    source = _local(settings)
    if settings.kind == "open_clip":
        file = Path(str(settings.pretrained)).expanduser()
        return digest_file(file) if file.is_file() else None
    return weights_digest(source, to_install=True) if source is not None and source.is_dir() else None


def _local(settings: BackboneSettings) -> Path | None:
    if settings.kind == "embedded":
        return EMBEDDED / settings.place
    return Path(settings.place).expanduser() if settings.kind == "folder" else None


def _copy_model(source: Path, beside: Path) -> None:
    form = form_of(source)
    weights = weights_of(source, form, to_install=True)
    old = [file for file in weights if file.suffix == ".bin"]
    for file in model_files(source, to_install=True):
        if file not in old:
            shutil.copyfile(file, beside / file.name)
    if old:
        _rewrite_weights(old, beside / (OPEN_CLIP_WEIGHTS if form == "open_clip" else WEIGHTS))


def _rewrite_weights(old: Sequence[Path], new: Path) -> None:
    """Weights of PyTorch's own form as safetensors; nothing in them is executed."""
    import torch
    from safetensors.torch import save_file

    state: dict[str, torch.Tensor] = {}
    for file in old:
        try:
            held = torch.load(file, map_location="cpu", weights_only=True)
            state |= {name: value.clone().contiguous() for name, value in held.items()}
        except Exception as error:
            raise BrokenModel(
                f"{file} does not hold plain tensors, or not all of them ({type(error).__name__}: {error}); fetch it "
                f"again, or {WEIGHTS} of this model instead"
            ) from error
    save_file(state, new, metadata={"format": "pt"})


def _remarks(folder: Path) -> list[str]:
    """What was ignored of an installed model, or taken for granted."""
    if form_of(folder) == "open_clip":
        return []
    remarks = []
    if code := read_object(folder / CONFIG).get("auto_map"):
        remarks.append(
            f"{CONFIG} names code of the model's own (auto_map: {code}), which is ignored and never run"
        )
    if not any((folder / name).is_file() for name in (PREPARATION, PROCESSOR)):
        remarks.append(f"there is no {PREPARATION}: colours are those of the family")
    return remarks


def _from_hub(settings: BackboneSettings) -> Path:
    """Fetch what counts of a repository, all of one commit: the small files first, then the weights they ask for."""
    from huggingface_hub import snapshot_download

    def fetch(names: Sequence[str], revision: str | None) -> Path:
        return Path(snapshot_download(settings.place, revision=revision, allow_patterns=list(names)))

    try:
        folder = fetch(SMALL_FILES, settings.revision)
        weights: list[Sequence[str]] = []
        if family_of(folder) in FAMILIES:
            weights += [(WEIGHTS,), (INDEX,), (OLD_WEIGHTS["transformers"],), (OLD_INDEX,)]
        if (folder / OPEN_CLIP_CONFIG).is_file():
            weights += [(OPEN_CLIP_WEIGHTS,), (OLD_WEIGHTS["open_clip"],)]
        for names in weights:
            fetch(names, folder.name)
            files = weights_of(folder, form_of(folder), to_install=True)
            fetch([file.name for file in files], folder.name)
            if all(file.is_file() for file in files):
                break
    except BrokenModel:
        raise
    except Exception as error:
        raise BrokenModel(
            f"backbone {settings.place!r} could not be fetched from the Hub ({type(error).__name__}); without a "
            f"net, fetch {CONFIG}, {WEIGHTS}, {PREPARATION} and the tokenizer files of {settings.place} elsewhere, put "
            "them in one folder, and name it with kind: folder, place: <that folder>"
        ) from error
    return folder
