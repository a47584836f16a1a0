"""What the parity tests need of the real annotation files and of CLIP's vocabulary, small enough for every clone.

``python -m tests.parity.excerpts FOLDER`` writes ``queries.npz`` and ``tokenizer/`` anew from a folder that holds
``cirr/``, ``fashion-iq/`` and ``clip-tokenizer/`` as published; tests hold both to such a folder where it is there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer

from cir_assets.models.transformers_network import STRAIGHT_QUOTES

HERE = Path(__file__).parent
CATEGORIES = ("dress", "shirt", "toptee")
CIRR_SPLITS = ("val", "test1")


def queries(folder: Path) -> dict[str, NDArray[Any]]:
    """Galleries and queries of FashionIQ's val and CIRR's val and test1, in file order and without captions.

    Of each FashionIQ category ``<category>_gallery``, how many pictures there are, and ``<category>_queries`` uint16
    (Q, 2): positions of reference and target. Of each CIRR split ``<split>_gallery``, its names;
    ``<split>_queries`` uint16 (Q, 8): positions of the reference, the target (in test1, where it is secret, the
    reference again) and the six members of the set; ``<split>_ids`` uint32 (Q, 2): pair and set.
    """
    found: dict[str, NDArray[Any]] = {}
    for category in CATEGORIES:
        images = _read(folder / f"fashion-iq/image_splits/split.{category}.val.json")
        rows = _read(folder / f"fashion-iq/captions/cap.{category}.val.json")
        position = {image: index for index, image in enumerate(images)}
        found[f"{category}_gallery"] = np.array(len(images))
        found[f"{category}_queries"] = np.array(
            [[position[row["candidate"]], position[row["target"]]] for row in rows], dtype=np.uint16
        )
    for split in CIRR_SPLITS:
        images = list(_read(folder / f"cirr/image_splits/split.rc2.{split}.json"))
        rows = _read(folder / f"cirr/captions/cap.rc2.{split}.json")
        position = {image: index for index, image in enumerate(images)}
        named = [
            [row["reference"], row.get("target_hard", row["reference"]), *row["img_set"]["members"]]
            for row in rows
        ]
        found[f"{split}_gallery"] = np.array(images)
        found[f"{split}_queries"] = np.array(
            [[position[name] for name in names] for names in named], dtype=np.uint16
        )
        found[f"{split}_ids"] = np.array(
            [[row["pairid"], row["img_set"]["id"]] for row in rows], dtype=np.uint32
        )
    return found


def vocabulary(folder: Path, texts: list[str]) -> tuple[dict[str, int], list[str]]:
    """The part of a byte-level BPE vocabulary that texts can meet: tokens with their ids, and merges in their order.

    A merge is met only where its two pieces stand side by side in a word; all others leave the words' tokens alone.
    """
    whole = AutoTokenizer.from_pretrained(folder).backend_tokenizer
    words = {
        f"{word}</w>"
        for text in texts
        for word, _ in whole.pre_tokenizer.pre_tokenize_str(
            whole.normalizer.normalize_str(text.translate(STRAIGHT_QUOTES))
        )
    }
    header, *merges = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    met = [merge for merge in merges if any(merge.replace(" ", "") in word for word in words)]
    pieces = {merge.replace(" ", "") for merge in met}
    ids = _read(folder / "vocab.json")
    # Single characters, and the two that stand for start and end, are always there.
    kept = {
        token: number
        for token, number in ids.items()
        if token in pieces or len(token.removesuffix("</w>")) == 1 or token.startswith("<|")
    }
    return kept, [header, *met]


def texts_of(folder: Path) -> list[str]:
    """The captions whose tokens are known."""
    return [row["text"] for row in _read(folder / "tokens" / "tokens.json")]


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _write(folder: Path) -> None:
    arrays: dict[str, Any] = {**queries(folder)}
    np.savez_compressed(HERE / "queries.npz", **arrays)
    source, target = folder / "clip-tokenizer", HERE / "tokenizer"
    target.mkdir(exist_ok=True)
    ids, merges = vocabulary(source, texts_of(HERE))
    (target / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False) + "\n", encoding="utf-8")
    (target / "merges.txt").write_text("\n".join(merges) + "\n", encoding="utf-8")
    (target / "tokenizer_config.json").write_bytes((source / "tokenizer_config.json").read_bytes())


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
