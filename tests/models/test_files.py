"""Whatever a model folder holds, it loads or says in one sentence which file is wrong and how to mend it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from cir_assets.models.backbone import Backbone
from cir_assets.models.files import BrokenModel, require_version, weights_digest, weights_version
from cir_assets.models.installation import install_backbone
from cir_assets.models.settings import BackboneSettings
from tests.models.families import in_shards, write_family

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 605247071\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_family("siglip", tmp_path_factory.mktemp("hub") / "siglip")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "model")
    return tmp_path / "model"


def test_weights_in_several_files_are_one_model(whole: Path, folder: Path, tmp_path: Path) -> None:
    second = in_shards(folder)
    install_backbone(BackboneSettings(kind="folder", place=str(folder)), tmp_path / "installed")
    expected = Backbone.load(whole).text_features(["is red"])
    for place in (folder, tmp_path / "installed"):
        assert (Backbone.load(place).text_features(["is red"]) - expected).abs().max() <= 1e-5
    assert weights_digest(folder) == weights_digest(tmp_path / "installed")
    before = weights_digest(folder)
    weights = load_file(second)
    save_file({name: value + 1 for name, value in weights.items()}, second)
    assert weights_digest(folder) != before


Damage = Callable[[Path], object]


def a_pointer(name: str) -> Damage:
    return lambda folder: (folder / name).write_text(POINTER.format(digest="0" * 64))


def cut(name: str, to: int | None = None) -> Damage:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2 if to is None else to])

    return damage


def without(*names: str) -> Damage:
    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return damage


def holding(name: str, text: str) -> Damage:
    return lambda folder: (folder / name).write_text(text)


def without_second_shard(folder: Path) -> None:
    in_shards(folder).unlink()


def with_second_shard_of_another(folder: Path) -> None:
    save_file({"another": torch.ones(2)}, in_shards(folder))


def with_second_shard_a_pointer(folder: Path) -> None:
    in_shards(folder).write_text(POINTER.format(digest="1" * 64))


def with_shard_elsewhere(folder: Path) -> None:
    shard = in_shards(folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace(shard.name, "../../secret.safetensors"))


def with_fewer_layers_configured(folder: Path) -> None:
    change_config(folder, num_hidden_layers=1)


def with_more_layers_configured(folder: Path) -> None:
    change_config(folder, num_hidden_layers=3)


def change_config(folder: Path, **text: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= text
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (a_pointer("model.safetensors"), r"model\.safetensors is a Git LFS pointer.*git lfs pull"),
        (a_pointer("spiece.model"), r"spiece\.model is a Git LFS pointer.*git lfs pull"),
        (a_pointer("tokenizer.json"), r"tokenizer\.json is a Git LFS pointer.*git lfs pull"),
        (with_second_shard_a_pointer, r"model-00002-of-00003\.safetensors is a Git LFS pointer"),
        (cut("model.safetensors"), r"model\.safetensors \([\d,]+ bytes\) is no whole safetensors.*fetch it"),
        (cut("model.safetensors", 5), r"model\.safetensors \(5 bytes\) is no whole safetensors"),
        (cut("model.safetensors", 0), r"model\.safetensors is empty; fetch it again"),
        (
            holding("model.safetensors", "<!DOCTYPE html>" * 99),
            r"model\.safetensors .* another file under this",
        ),
        (without("model.safetensors"), r"lacks model\.safetensors"),
        (without("config.json"), r"lacks config\.json"),
        (
            without("spiece.model", "tokenizer.json"),
            r"lacks its tokenizer; put the tokenizer files of this very",
        ),
        (cut("config.json"), r"config\.json is no JSON"),
        (cut("tokenizer.json"), r"tokenizer\.json is no JSON"),
        (cut("spiece.model"), r"holds no model this project can load"),
        (cut("spiece.model", 0), r"spiece\.model is empty"),
        (holding("config.json", "[]"), r"config\.json holds a list, expected a JSON object"),
        (holding("config.json", "{}"), r"config\.json: model_type is None, expected one of clip"),
        (holding("preprocessor_config.json", '{"image_mean": [0.5, "half", 0.5]}'), r"does not describe"),
        (
            holding("preprocessor_config.json", '{"image_std": [0.5, 0, 0.5]}'),
            r"expected three finite numbers",
        ),
        (without_second_shard, r"lacks model-00002-of-00003\.safetensors"),
        (with_second_shard_of_another, r"index\.json names .*, which none of its files holds"),
        (
            with_shard_elsewhere,
            r"names '\.\./\.\./secret\.safetensors', expected the name of a \.safetensors",
        ),
        (with_more_layers_configured, r"its weights lack text_model\.encoder\.layers\.2"),
        (with_fewer_layers_configured, r"its weights hold text_model\.encoder\.layers\.1.*no place for"),
    ],
)
def test_it_says_which_file_is_wrong_before_anything_is_encoded(
    folder: Path, tmp_path: Path, damage: Damage, told: str
) -> None:
    damage(folder)
    with pytest.raises(BrokenModel, match=told) as caught:
        install_backbone(BackboneSettings(kind="folder", place=str(folder)), tmp_path / "installed")
    assert str(folder) in str(caught.value)
    assert not (tmp_path / "installed").exists()
    with pytest.raises(BrokenModel, match=told):
        Backbone.load(folder)


def test_what_was_installed_stays_when_the_next_is_broken(folder: Path, tmp_path: Path) -> None:
    settings_ = BackboneSettings(kind="folder", place=str(folder))
    install_backbone(settings_, tmp_path / "installed")
    before = weights_digest(tmp_path / "installed")
    cut("model.safetensors")(folder)
    with pytest.raises(BrokenModel):
        install_backbone(settings_, tmp_path / "installed")
    assert weights_digest(tmp_path / "installed") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["installed", "model"]


def test_weights_of_pytorchs_own_form_are_loaded_once_installed(folder: Path, tmp_path: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        BrokenModel, match=r"pytorch_model\.bin is of PyTorch's own form; installing rewrites it"
    ):
        Backbone.load(folder)
    install_backbone(BackboneSettings(kind="folder", place=str(folder)), tmp_path / "installed")
    assert Backbone.load(tmp_path / "installed").feature_dimension == 32


def test_a_trained_model_whose_weights_changed_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "shop" / "tiny" / "recipe" / "combiner" / "abc"
    folder.mkdir(parents=True)
    save_file({"weight": torch.ones(3)}, folder / "model.safetensors")
    version = weights_version(folder)
    require_version(folder, version)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(
        BrokenModel, match=r"abc does not hold the weights.*materialize shop/tiny/recipe/combiner"
    ):
        require_version(folder, version)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 999) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def mutated(value: object, data: st.DataObject) -> object:
    """A JSON value with one place in it, however deep, made another or left out."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 9)):
        key = data.draw(st.sampled_from(sorted(value)))
        if not data.draw(st.integers(0, 4)):
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: mutated(value[key], data)}
    if isinstance(value, list) and value and data.draw(st.integers(0, 9)):
        row = data.draw(st.integers(0, len(value) - 1))
        return [*value[:row], mutated(value[row], data), *value[row + 1 :]]
    return data.draw(JSON)


@settings(
    max_examples=120,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_damage_ends_in_a_backbone_or_in_one_sentence(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "model"
    shutil.copytree(whole, folder)
    if data.draw(st.booleans()):
        in_shards(folder)
    for file in data.draw(
        st.lists(st.sampled_from(sorted(folder.iterdir())), min_size=1, max_size=2, unique=True)
    ):
        content = file.read_bytes() if file.is_file() else b""
        match data.draw(st.sampled_from(["mutate", "cut", "flip", "empty", "remove", "pointer"])):
            case "mutate" if file.suffix == ".json" and content.startswith(b"{"):
                file.write_text(json.dumps(mutated(json.loads(content), data)))
            case "cut":
                file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
            case "flip" if content:
                place = data.draw(st.integers(0, len(content) - 1))
                file.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
            case "empty":
                file.write_bytes(b"")
            case "remove":
                file.unlink(missing_ok=True)
            case _:
                a_pointer(file.name)(folder)
    try:
        backbone = Backbone.load(folder)
    except BrokenModel as error:
        told = str(error)
        assert str(folder) in told
        return
    assert backbone.text_features(["is red"]).shape == (1, backbone.feature_dimension)
