"""What a person should know of an installed model is told; its source's version says whether it changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cir_assets.models.backbone import Backbone
from cir_assets.models.files import BrokenModel
from cir_assets.models.installation import install_backbone, source_version
from cir_assets.models.settings import BackboneSettings
from tests.models.families import in_shards, write_family


def of_folder(folder: Path) -> BackboneSettings:
    return BackboneSettings(kind="folder", place=str(folder))


def test_code_that_comes_with_it_and_colours_that_do_not_are_told(tmp_path: Path) -> None:
    folder = write_family("clip", tmp_path / "clip")
    assert install_backbone(of_folder(folder), tmp_path / "installed") == []
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "theirs.Theirs"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").unlink()
    (folder / "theirs.py").write_text("raise SystemExit('it was run')\n")
    code, colours = install_backbone(of_folder(folder), tmp_path / "installed")
    assert code.startswith(
        "config.json names code of the model's own (auto_map: {'AutoModel': 'theirs.Theirs'})"
    )
    assert code.endswith("ignored and never run")
    assert colours == "there is no preprocessor_config.json: colours are those of the family"
    assert not (tmp_path / "installed" / "theirs.py").exists()


def test_colours_are_read_where_transformers_5_writes_them(tmp_path: Path) -> None:
    folder = write_family("clip", tmp_path / "clip")
    (folder / "preprocessor_config.json").unlink()
    said = {"image_processor": {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}}
    (folder / "processor_config.json").write_text(json.dumps(said))
    assert install_backbone(of_folder(folder), tmp_path / "installed") == []
    shape = Backbone.load(tmp_path / "installed").shape
    assert (shape.mean, shape.deviation) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_pytorchs_own_form_in_several_files_becomes_one_of_safetensors(tmp_path: Path) -> None:
    folder = write_family("siglip", tmp_path / "siglip")
    expected = Backbone.load(folder).text_features(["is red"])
    in_shards(folder)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    for shard in set(index["weight_map"].values()):
        torch.save(load_file(folder / shard), folder / shard.replace("safetensors", "bin"))
        (folder / shard).unlink()
    text = json.dumps(index).replace(".safetensors", ".bin")
    (folder / "pytorch_model.bin.index.json").write_text(text)
    (folder / "model.safetensors.index.json").unlink()
    install_backbone(of_folder(folder), tmp_path / "installed")
    assert (tmp_path / "installed" / "model.safetensors").is_file()
    assert (Backbone.load(tmp_path / "installed").text_features(["is red"]) - expected).abs().max() <= 1e-5
    (folder / "model-00002-of-00003.bin").write_bytes(b"half of it")
    with pytest.raises(BrokenModel, match=r"model-00002-of-00003\.bin does not hold plain tensors"):
        install_backbone(of_folder(folder), tmp_path / "installed")


def test_a_source_has_another_version_once_its_bytes_change(tmp_path: Path) -> None:
    folder = write_family("clip", tmp_path / "clip")
    before = source_version(of_folder(folder))
    assert before is not None
    assert source_version(of_folder(folder)) == before
    (folder / "training_log.txt").write_text("not of the model")
    assert source_version(of_folder(folder)) == before
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    assert source_version(of_folder(folder)) != before
    assert source_version(of_folder(tmp_path / "gone")) is None
    assert source_version(BackboneSettings(kind="hub", place="openai/clip", revision="main")) is None
    weights = tmp_path / "weights.pt"
    settings = BackboneSettings(kind="open_clip", place="RN50", pretrained=str(weights))
    assert source_version(settings) is None
    weights.write_bytes(b"a")
    first = source_version(settings)
    weights.write_bytes(b"b")
    assert None not in (first, source_version(settings))
    assert source_version(settings) != first
