"""A model folder's files: which of them count, whether they are whole, and the version of their content."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from cir_assets.store.digests import digest, digest_file

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
"""Where weights lie in several files: which file holds which of them."""

OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"
PREPARATION = "preprocessor_config.json"
PROCESSOR = "processor_config.json"
"""Where transformers 5 writes the same, with the tokenizer's part beside it."""

CARD = "README.md"

TOKENIZERS = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("spiece.model",),
    ("sentencepiece.bpe.model",),
    ("tokenizer.model",),
)
"""Files of which one group makes a tokenizer."""

SMALL_FILES = (
    CONFIG,
    OPEN_CLIP_CONFIG,
    PREPARATION,
    PROCESSOR,
    "tokenizer_config.json",
    "special_tokens_map.json",
    *(name for group in TOKENIZERS for name in group),
    CARD,
)
"""All that counts of a model folder beside its weights."""

OLD_WEIGHTS = {"transformers": "pytorch_model.bin", "open_clip": "open_clip_pytorch_model.bin"}
"""Weights of older repositories, in PyTorch's own form; installing rewrites them as safetensors."""

OLD_INDEX = "pytorch_model.bin.index.json"

FAMILIES = {
    "clip": "CLIP and MetaCLIP",
    "metaclip_2": "MetaCLIP 2",
    "siglip": "SigLIP, and SigLIP 2 of fixed resolution",
    "siglip2": "SigLIP 2 of flexible resolution",
}
"""What transformers calls a family (``model_type`` of its configuration) -> what people do."""

ENCODERS = ("text_model.", "vision_model.")
"""What the names of both encoders' weights begin with in transformers."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"


class BrokenModel(ValueError):
    """A model folder that cannot be used; the message names the file, what was expected and how to mend it."""


def form_of(folder: Path) -> Literal["transformers", "open_clip"]:
    """Whose form a folder's model has; transformers' where it holds both and the family is known.

    Raises:
        BrokenModel: when ``config.json``, or a weights file that decides it, cannot be read.
    """
    if not (folder / OPEN_CLIP_CONFIG).is_file():
        return "transformers"
    if not (folder / CONFIG).is_file() or family_of(folder) not in FAMILIES:
        return "open_clip"
    [first, *_] = weights_of(folder, "transformers", to_install=True)
    if not any(file.is_file() for file in weights_of(folder, "open_clip", to_install=True)):
        return "transformers"
    if not first.is_file():
        return "open_clip"
    # Some wrap open_clip's network in a class of their own: the names inside are open_clip's.
    ours = first.suffix != ".safetensors" or any(name.startswith(ENCODERS) for name in _names_in(first))
    return "transformers" if ours else "open_clip"


def family_of(folder: Path) -> Any:
    """What ``config.json`` calls the family; None where there is none.

    Raises:
        BrokenModel: when it is no JSON object.
    """
    return read_object(folder / CONFIG).get("model_type") if (folder / CONFIG).is_file() else None


def weights_of(folder: Path, form: str, *, to_install: bool = False) -> list[Path]:
    """The files a folder's weights are read from, whether they are there or not.

    Args:
        folder: a model folder.
        form: as ``form_of`` gives it.
        to_install: weights of PyTorch's own form will do where there are no others; installing rewrites them.

    Raises:
        BrokenModel: when an index names something else than files beside it.
    """
    whole = folder / (OPEN_CLIP_WEIGHTS if form == "open_clip" else WEIGHTS)
    if whole.is_file():
        return [whole]
    if form == "transformers" and (folder / INDEX).is_file():
        return _shards(folder / INDEX, ".safetensors")
    if to_install and (folder / OLD_WEIGHTS[form]).is_file():
        return [folder / OLD_WEIGHTS[form]]
    if to_install and form == "transformers" and (folder / OLD_INDEX).is_file():
        return _shards(folder / OLD_INDEX, ".bin")
    return [whole]


def model_files(folder: Path, *, to_install: bool = False) -> list[Path]:
    """The files that are there of a folder's model, of the one form it is read in, sorted.

    Raises:
        BrokenModel: when it cannot be told which they are.
    """
    form = form_of(folder)
    weights = weights_of(folder, form, to_install=to_install)
    others = CONFIG if form == "open_clip" else OPEN_CLIP_CONFIG
    files = {folder / name for name in SMALL_FILES if name != others} | set(weights)
    if form == "transformers" and weights != [folder / WEIGHTS]:
        files.add(folder / INDEX)
    return sorted(file for file in files if file.is_file())


def require_whole(folder: Path, *, to_install: bool = False) -> None:
    """Look at every file that counts, without loading weights: is it there, is it itself, is it as long as it says?

    Args:
        folder: a model folder.
        to_install: weights of PyTorch's own form will do; installing rewrites them.

    Raises:
        BrokenModel: when a file is absent, a Git LFS pointer, empty, cut short or of another form, naming it.
        OSError: when a file that is there cannot be read.
    """
    if not folder.is_dir():
        raise BrokenModel(f"{folder} is no folder; name one that holds a model")
    for file in model_files(folder, to_install=to_install):
        _require_content(file)
        if file.suffix == ".json":
            read_object(file)
    form = form_of(folder)
    _require_weights(folder, form, weights_of(folder, form, to_install=to_install))
    groups = [" and ".join(group) for group in TOKENIZERS]
    if form == "transformers" and not any(
        all((folder / name).is_file() for name in group) for group in TOKENIZERS
    ):
        raise BrokenModel(
            f"{folder} lacks its tokenizer; put the tokenizer files of this very model beside its weights: "
            f"{', or '.join(groups)}"
        )


def weights_digest(folder: Path, *, to_install: bool = False) -> str:
    """Version of a backbone: the digest of its configuration, weights and tokenizer files, by name.

    Raises:
        BrokenModel: when it cannot be told which files those are.
    """
    content = hashlib.sha256()
    for file in model_files(folder, to_install=to_install):
        if file.name != CARD:
            content.update(file.name.encode())
            with file.open("rb") as stream:
                content.update(hashlib.file_digest(stream, "sha256").digest())
    return content.hexdigest()[:16]


def weights_version(folder: Path) -> str:
    """Version of a trained model: the digest of its weights, the image encoder's too where that was tuned."""
    return digest([_digest(file, file.stat().st_ctime_ns) for file in sorted(folder.glob("*.safetensors"))])


def require_version(folder: Path, version: str) -> None:
    """Hold a trained model's weights against the version they were saved as; each file is read once a process.

    Raises:
        BrokenModel: when they are others, naming the folder.
    """
    if (found := weights_version(folder)) != version:
        raise BrokenModel(
            f"{folder} does not hold the weights that were saved there (version {found}, expected {version}): a disk "
            f"or a hand changed them; put them back from a copy, or remove the folder and materialize "
            f"{'/'.join(folder.parts[-5:-1])} again"
        )


@lru_cache(maxsize=256)
def _digest(file: Path, _changed_at: int) -> str:
    return digest_file(file)


def read_object(file: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BrokenModel: when the file holds something else.
        OSError: when it cannot be read.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BrokenModel(f"{file} is no JSON ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise BrokenModel(f"{file} holds a {type(content).__name__}, expected a JSON object; fetch it again")
    return content


def _shards(index: Path, suffix: str) -> list[Path]:
    """The files an index names, each a plain name beside it."""
    _require_content(index)
    named = read_object(index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise BrokenModel(f"{index} names no files of weights under weight_map; fetch it again")
    for name in named.values():
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(suffix):
            raise BrokenModel(f"{index} names {name!r}, expected the name of a {suffix} file beside it")
    return [index.with_name(name) for name in sorted(set(named.values()))]


def _require_weights(folder: Path, form: str, files: list[Path]) -> None:
    config = folder / (OPEN_CLIP_CONFIG if form == "open_clip" else CONFIG)
    missing = [file.name for file in (config, *files) if not file.is_file()]
    if missing == [files[0].name] and (folder / OLD_WEIGHTS[form]).is_file():
        raise BrokenModel(
            f"{folder / OLD_WEIGHTS[form]} is of PyTorch's own form; installing rewrites it as safetensors: name this "
            f"folder in a backbone of kind: folder, place: {folder}"
        )
    if missing:
        raise BrokenModel(
            f"{folder} lacks {' and '.join(missing)}; it must hold a dual encoder of transformers with its tokenizer "
            f"({CONFIG}, {WEIGHTS} or {INDEX} with the files it names, tokenizer.json, {PREPARATION}), or one of "
            f"open_clip ({OPEN_CLIP_CONFIG}, {OPEN_CLIP_WEIGHTS})"
        )
    held = {name for file in files if file.suffix == ".safetensors" for name in _names_in(file)}
    if held and files[0].name != WEIGHTS and form == "transformers":
        absent = sorted(set(read_object(folder / INDEX)["weight_map"]) - held)
        if absent:
            raise BrokenModel(
                f"{folder / INDEX} names {absent[0]}, which none of its files holds; fetch them again, all of one "
                "revision"
            )


def _require_content(file: Path) -> None:
    with file.open("rb") as stream:
        start = stream.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise BrokenModel(
            f"{file} is a Git LFS pointer, a note of where the file lies; in its repository run: git lfs pull"
        )
    if not start:
        raise BrokenModel(f"{file} is empty; fetch it again")


def _names_in(file: Path) -> list[str]:
    """Names of the weights in a safetensors file; its header is held against the file's length."""
    from safetensors import SafetensorError, safe_open

    _require_content(file)
    try:
        with safe_open(file, framework="numpy") as weights:
            return list(weights.keys())
    except SafetensorError as error:
        raise BrokenModel(
            f"{file} ({file.stat().st_size:,} bytes) is no whole safetensors file: half a download, or another "
            f"file under this name ({error}); fetch it again"
        ) from error
