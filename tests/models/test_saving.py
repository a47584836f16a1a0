"""Saved models are of a form transformers 4 and 5 read alike, and are known again when a byte of them changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoTokenizer

from cir_assets.models.backbone import Backbone
from cir_assets.models.combiner import Combiner
from cir_assets.models.files import BrokenModel, weights_version
from cir_assets.models.installation import EMBEDDED
from cir_assets.models.saving import load_combiner, load_text_encoder, save_combiner, save_text_encoder
from tests.models.families import FAMILIES, write_family

CAPTIONS = ["Is Red, with longer sleeves!", "has no belt", ""]
ONLY_5 = {"TokenizersBackend", "SentencePieceBackend", "PythonBackend", "Siglip2Tokenizer"}
"""Tokenizer classes transformers 4 does not have."""


def saved(folder: Path, backbone: Backbone, **options: bool) -> Path:
    folder.mkdir()
    save_text_encoder(folder, backbone, {"recipe": "test"}, **options)
    return folder


@pytest.mark.parametrize("family", ["tiny_clip", *FAMILIES])
def test_its_files_are_of_a_form_both_majors_read(family: str, tmp_path: Path) -> None:
    source = EMBEDDED / family if family == "tiny_clip" else write_family(family, tmp_path / family)
    backbone = Backbone.load(source)
    folder = saved(tmp_path / "saved", backbone)
    with safe_open(folder / "model.safetensors", framework="pt") as weights:
        assert weights.metadata() == {"format": "pt"}
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] not in ONLY_5
    assert not {"backend", "is_local", "extra_special_tokens"} & set(config)
    if (folder / "tokenizer.json").is_file():
        whole = json.loads((folder / "tokenizer.json").read_text())
        # Merges as pairs are unknown to tokenizers before 0.20, which transformers 4.44 takes.
        assert all(isinstance(merge, str) for merge in whole["model"].get("merges", []))
        assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
        if "add_prefix_space" in (whole["pre_tokenizer"] or {}):
            assert config["add_prefix_space"] == whole["pre_tokenizer"]["add_prefix_space"]
    else:
        assert config["tokenizer_class"] == "SiglipTokenizer"
        assert (folder / "spiece.model").is_file()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer(CAPTIONS, truncation=True, max_length=20)["input_ids"] == [
        ids if len(ids) <= 20 else [*ids[:19], ids[-1]] for ids in backbone.tokenise(CAPTIONS)
    ]


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    backbone = Backbone.load(EMBEDDED / "tiny_clip")
    first, second = (saved(tmp_path / name, backbone, with_image_encoder=True) for name in ("a", "b"))
    assert weights_version(first) == weights_version(second)
    assert {file.name: file.read_bytes() for file in first.iterdir()} == {
        file.name: file.read_bytes() for file in second.iterdir()
    }


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("file", ["model.safetensors", "image_encoder.safetensors"])
def test_a_text_encoder_with_one_flipped_byte_is_refused(file: str, tmp_path: Path) -> None:
    backbone = Backbone.load(EMBEDDED / "tiny_clip")
    folder = saved(tmp_path / "text_encoder", backbone, with_image_encoder=True)
    load_text_encoder(folder, backbone)
    before = backbone.text_features(CAPTIONS)
    flip(folder / file, -1000)
    with pytest.raises(BrokenModel, match=r"text_encoder does not hold the weights that were saved there"):
        load_text_encoder(folder, backbone)
    assert torch.equal(backbone.text_features(CAPTIONS), before)
    flip(folder / file, -1000)
    load_text_encoder(folder, backbone)


def test_a_combiner_with_one_flipped_byte_is_refused(tmp_path: Path) -> None:
    (tmp_path / "combiner").mkdir()
    save_combiner(tmp_path / "combiner", Combiner(16, 8, 8), {})
    load_combiner(tmp_path / "combiner", 16)
    flip(tmp_path / "combiner" / "model.safetensors", -1)
    with pytest.raises(BrokenModel, match="combiner does not hold the weights that were saved there"):
        load_combiner(tmp_path / "combiner", 16)


def test_a_model_saved_before_versions_were_written_still_loads(tmp_path: Path) -> None:
    (tmp_path / "combiner").mkdir()
    save_combiner(tmp_path / "combiner", Combiner(16, 8, 8), {})
    config = json.loads((tmp_path / "combiner" / "config.json").read_text())
    del config["cir_assets"]["weights"]
    (tmp_path / "combiner" / "config.json").write_text(json.dumps(config))
    assert load_combiner(tmp_path / "combiner").feature_dimension == 16
    (tmp_path / "combiner" / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(BrokenModel, match=r"holds no readable model\.safetensors"):
        load_combiner(tmp_path / "combiner")
