"""Captions become the tokens their model was trained on, whatever tokenizer its own files name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sentencepiece
import torch
from transformers import Siglip2Tokenizer

from cir_assets.models.backbone import Backbone
from tests.models.families import write_family

CAPTIONS = ["Is Red, with LONGER sleeves", "has no belt", "", "the Same Dress  but blue!"]


@pytest.mark.parametrize("family", ["siglip", "siglip_without_json", "siglip2_fixed", "siglip2"])
def test_capitals_are_lower_cased_as_in_siglips_training(family: str, tmp_path: Path) -> None:
    backbone = Backbone.load(write_family(family, tmp_path / family))
    assert backbone.tokenise(CAPTIONS) == backbone.tokenise([caption.lower() for caption in CAPTIONS])
    assert len({tuple(tokens) for tokens in backbone.tokenise(CAPTIONS)}) == len(CAPTIONS)


@pytest.mark.parametrize("family", ["siglip", "siglip_without_json"])
def test_siglips_tokens_are_sentencepieces_without_punctuation(family: str, tmp_path: Path) -> None:
    folder = write_family(family, tmp_path / family)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    plain = ["is red with longer sleeves", "has no belt", "", "the same dress but blue"]
    expected = [[*pieces.encode(caption)[:19], pieces.eos_id()] for caption in plain]
    assert Backbone.load(folder).tokenise(CAPTIONS) == expected


def test_without_sentencepieces_file_siglip_reads_tokenizer_json(tmp_path: Path) -> None:
    folder = write_family("siglip", tmp_path / "siglip")
    whole = Backbone.load(folder).tokenise(CAPTIONS)
    (folder / "spiece.model").unlink()
    assert Backbone.load(folder).tokenise(CAPTIONS) == whole


def test_siglip2_of_fixed_resolution_reads_as_its_own_tokenizer_does(tmp_path: Path) -> None:
    folder = write_family("siglip2_fixed", tmp_path / "siglip2")
    own = Siglip2Tokenizer.from_pretrained(folder)
    backbone = Backbone.load(folder)
    assert backbone.tokenise(CAPTIONS) == own(CAPTIONS, truncation=True, max_length=20)["input_ids"]
    assert backbone.tokenise(CAPTIONS)[2] == [own.eos_token_id]


def test_a_model_whose_files_keep_capitals_keeps_them(tmp_path: Path) -> None:
    folder = write_family("siglip2_fixed", tmp_path / "siglip2")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "do_lower_case": False}))
    capitals, small = Backbone.load(folder).tokenise(["Is Red", "is red"])
    assert capitals != small


@pytest.mark.parametrize("family", ["siglip", "siglip2_fixed", "siglip2"])
def test_siglips_captions_are_padded_after_their_end_to_the_whole_context(
    family: str, tmp_path: Path
) -> None:
    folder = write_family(family, tmp_path / family)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("padding_side", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    backbone = Backbone.load(folder)
    [tokens] = backbone.tokenise(["has no belt"])
    padding = backbone.tokenizer.pad_token_id
    padded = torch.tensor([tokens + [padding] * (backbone.context_length - len(tokens))])
    with torch.no_grad():
        expected = backbone.model.get_text_features(input_ids=padded).pooler_output
    assert (backbone.text_features(["has no belt"]) - expected).abs().max() <= 1e-5


def test_code_that_comes_with_a_model_is_never_run(tmp_path: Path) -> None:
    folder = write_family("clip", tmp_path / "clip")
    before = Backbone.load(folder).text_features(["is red"])
    (folder / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Theirs: pass\n")
    for name, classes in (
        ("config.json", ("AutoConfig", "AutoModel")),
        ("tokenizer_config.json", ("AutoTokenizer",)),
    ):
        config = json.loads((folder / name).read_text())
        config["auto_map"] = {
            one: ["theirs.Theirs", None] if "Tok" in one else "theirs.Theirs" for one in classes
        }
        (folder / name).write_text(json.dumps(config))
    assert (Backbone.load(folder).text_features(["is red"]) - before).abs().max() <= 1e-5
    assert not (tmp_path / "ran").exists()
