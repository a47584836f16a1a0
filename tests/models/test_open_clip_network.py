"""The paper's own backbones, ResNets of open_clip: same path, same tokens, same features; an optional extra."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cir_assets.models.backbone import Backbone
from cir_assets.models.installation import install_backbone
from cir_assets.models.saving import load_text_encoder, save_text_encoder
from cir_assets.models.settings import BackboneSettings
from cir_assets.models.shape import backbone_shape
from tests.models.families import write_family
from tests.trial_project import PROJECT, TrialProject, metadata_of

CAPTIONS = ["is red with longer sleeves", "has no belt", "is red with longer sleeves", "", "darker " * 300]
APART = Path(sys.prefix) / "open_clip"


@pytest.fixture(scope="module")
def open_clip() -> Any:
    """open_clip, from the environment or from the folder apart that ``make test`` fills."""
    import transformers.modeling_utils  # noqa: F401  (it must not see a torchvision that lacks its operators)

    if importlib.util.find_spec("open_clip") is None:
        if not APART.is_dir():
            pytest.skip("open_clip is not installed; make test installs it apart, in .venv/open_clip")
        sys.path.append(str(APART))
        registered = torch.library.register_fake

        def without_missing_operators(name: Any, *given: Any, **more: Any) -> Any:
            if isinstance(name, str) and name.startswith("torchvision::"):
                return lambda function: function
            return registered(name, *given, **more)

        with pytest.MonkeyPatch.context() as patch:
            # Its operators are built for another torch; open_clip's models use none of them.
            patch.setattr(torch.library, "register_fake", without_missing_operators)
            import torchvision  # noqa: F401
    import open_clip

    return open_clip


Written = Callable[[str], Path]


@pytest.fixture
def written(open_clip: Any, tmp_path: Path) -> Written:
    """Writes an architecture at reduced size with random weights, as open_clip writes its models."""

    def write(name: str) -> Path:
        torch.manual_seed(4)
        config = open_clip.get_model_config(name)
        config["embed_dim"] = 24
        config["vision_cfg"] |= {"width": 8, "image_size": 64, "layers": [1, 1, 2, 1]}
        config["text_cfg"] |= {"width": 32, "heads": 2, "layers": 2}
        config["quick_gelu"] = True
        model = open_clip.CLIP(**config)
        folder = tmp_path / name
        folder.mkdir()
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
        save_file(
            {key: value.contiguous() for key, value in model.state_dict().items()},
            folder / "open_clip_model.safetensors",
        )
        return folder

    return write


@pytest.fixture(params=["RN50", "RN50x4"])
def installed(request: pytest.FixtureRequest, written: Written, tmp_path: Path) -> Path:
    settings = BackboneSettings(kind="folder", place=str(written(request.param)))
    install_backbone(settings, tmp_path / "installed")
    return tmp_path / "installed"


def test_the_true_sizes_are_those_of_the_paper(open_clip: Any, tmp_path: Path) -> None:
    for name, resolution, dimension in (("RN50", 224, 1024), ("RN50x4", 288, 640)):
        file = tmp_path / "open_clip_config.json"
        file.write_text(json.dumps({"model_cfg": open_clip.get_model_config(name)}))
        shape = backbone_shape(tmp_path)
        assert (shape.resolution, shape.feature_dimension) == (resolution, dimension)


def test_features_are_those_of_open_clip_itself(open_clip: Any, installed: Path) -> None:
    backbone = Backbone.load(installed)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    with torch.no_grad():
        image = backbone.model.encode_image(backbone.normalised(pixels))
        text = backbone.model.encode_text(open_clip.SimpleTokenizer()(CAPTIONS))
    assert image.shape == text[:3].shape == (3, 24)
    assert (backbone.encode_images(pixels) - image).abs().max() <= 1e-5
    assert (backbone.text_features(CAPTIONS) - text).abs().max() <= 1e-5


def test_its_statistics_stay_frozen_and_its_text_encoder_is_put_back(installed: Path, tmp_path: Path) -> None:
    backbone = Backbone.load(installed)
    image = backbone.image_state_dict()
    assert any(name.endswith("running_mean") for name in image)
    with torch.no_grad():
        for parameter in backbone.text_parameters():
            parameter.add_(0.01)
    tuned = backbone.text_features(CAPTIONS)
    (tmp_path / "tuned").mkdir()
    save_text_encoder(tmp_path / "tuned", backbone, {})
    again = Backbone.load(installed)
    load_text_encoder(tmp_path / "tuned", again)
    assert (again.text_features(CAPTIONS) - tuned).abs().max() <= 1e-6
    assert all(torch.equal(value, image[name]) for name, value in again.image_state_dict().items())


def test_weights_come_from_a_file_by_the_architectures_own_name(
    open_clip: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = open_clip.get_model_config("RN50") | {"embed_dim": 16}
    small["vision_cfg"] |= {"width": 8, "image_size": 32, "layers": [1, 1, 1, 1]}
    small["text_cfg"] |= {"width": 32, "heads": 2, "layers": 1}
    (tmp_path / "small-resnet.json").write_text(json.dumps(small))
    open_clip.add_model_config(tmp_path / "small-resnet.json")
    torch.manual_seed(1)
    model = open_clip.create_model("small-resnet", force_quick_gelu=True)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    settings = BackboneSettings(
        kind="open_clip", place="small-resnet", pretrained=str(tmp_path / "weights.pt"), quick_gelu=True
    )
    install_backbone(settings, tmp_path / "installed")
    backbone = Backbone.load(tmp_path / "installed")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    with torch.no_grad():
        expected = model.eval().encode_image(backbone.normalised(pixels))
        texts = model.encode_text(open_clip.SimpleTokenizer()(CAPTIONS))
    assert (backbone.encode_images(pixels) - expected).abs().max() <= 1e-5
    assert (backbone.text_features(CAPTIONS) - texts).abs().max() <= 1e-5


@pytest.fixture
def architectures(open_clip: Any, tmp_path: Path) -> tuple[str, str]:
    """A small ViT under two names, as open_clip has its own: one of GELU, one of QuickGELU."""
    small = open_clip.get_model_config("ViT-B-32") | {"embed_dim": 16}
    small["vision_cfg"] |= {"width": 64, "image_size": 32, "patch_size": 8, "layers": 2, "head_width": 32}
    small["text_cfg"] |= {"width": 32, "heads": 2, "layers": 2}
    for name, config in (("small-vit", small), ("small-vit-quickgelu", {**small, "quick_gelu": True})):
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(tmp_path / f"{name}.json")
    return "small-vit", "small-vit-quickgelu"


@pytest.mark.parametrize(
    ("quick_name", "said", "by_openai", "quick"),
    [
        (False, None, False, False),
        (True, None, False, True),
        (False, True, False, True),
        (True, False, False, False),
        (False, None, True, True),
        (False, False, True, False),
    ],
)
def test_a_file_gets_the_activation_of_its_name_unless_the_settings_or_its_form_say_another(
    open_clip: Any,
    architectures: tuple[str, str],
    tmp_path: Path,
    quick_name: bool,
    said: bool | None,
    by_openai: bool,
    quick: bool,
) -> None:
    torch.manual_seed(1)
    theirs = open_clip.create_model(architectures[quick])
    file = tmp_path / "weights.pt"
    if by_openai:
        save_as_openai(theirs, file)
    else:
        torch.save(theirs.state_dict(), file)
    settings = BackboneSettings(
        kind="open_clip", place=architectures[quick_name], pretrained=str(file), quick_gelu=said
    )
    [remark] = install_backbone(settings, tmp_path / "installed")
    assert remark.startswith(f"its activation is {'QuickGELU' if quick else 'GELU'}, as ")
    assert ("set quick_gelu" in remark) == (said is None and not by_openai)
    backbone = Backbone.load(tmp_path / "installed")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    with torch.no_grad():
        expected = theirs.eval().encode_image(backbone.normalised(pixels))
        texts = theirs.encode_text(open_clip.SimpleTokenizer()(CAPTIONS))
    assert (backbone.encode_images(pixels) - expected).abs().max() <= 1e-5
    assert (backbone.text_features(CAPTIONS) - texts).abs().max() <= 1e-5


def save_as_openai(model: torch.nn.Module, file: Path) -> None:
    """An archive of TorchScript that holds a model's parameters and the three numbers OpenAI's hold."""

    class Held(torch.nn.Module):
        def forward(self) -> int:
            return 0

    def held(state: dict[str, Any]) -> torch.nn.Module:
        module = Held()
        for name in {name.partition(".")[0] for name in state}:
            inside = {
                rest.partition(".")[2]: value for rest, value in state.items() if rest.split(".")[0] == name
            }
            if "" in inside:
                module.register_buffer(name, inside[""])
            else:
                module.add_module(name, held(inside))
        return module

    numbers = {"input_resolution": 32, "context_length": 77, "vocab_size": 49_408}
    state = {**model.state_dict(), **{name: torch.tensor(number) for name, number in numbers.items()}}
    torch.jit.save(torch.jit.script(held(state)), str(file))


def test_of_both_forms_transformers_is_taken_where_the_family_is_known(
    written: Written, tmp_path: Path
) -> None:
    folder = write_family("clip", written("RN50"))
    for known, library in ((True, "transformers"), (False, "open_clip")):
        if not known:
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps({**config, "model_type": "marqo"}))
        install_backbone(BackboneSettings(kind="folder", place=str(folder)), tmp_path / library)
        for place in (folder, tmp_path / library):
            assert Backbone.load(place).shape.library == library
        assert ("open_clip_config.json" in {file.name for file in (tmp_path / library).iterdir()}) != known


def test_of_both_forms_open_clips_is_taken_where_the_other_only_wraps_it(
    written: Written, tmp_path: Path
) -> None:
    folder = written("RN50")
    apart = write_family("clip", tmp_path / "clip")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(apart / name, folder / name)
    weights = load_file(folder / "open_clip_model.safetensors")
    save_file({f"model.{name}": value for name, value in weights.items()}, folder / "model.safetensors")
    install_backbone(BackboneSettings(kind="folder", place=str(folder)), tmp_path / "installed")
    assert Backbone.load(tmp_path / "installed").shape.library == "open_clip"


def test_older_weights_of_open_clip_are_rewritten(written: Written, tmp_path: Path) -> None:
    folder = written("RN50")
    expected = Backbone.load(folder).text_features(CAPTIONS)
    torch.save(load_file(folder / "open_clip_model.safetensors"), folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_model.safetensors").unlink()
    install_backbone(BackboneSettings(kind="folder", place=str(folder)), tmp_path / "installed")
    assert (Backbone.load(tmp_path / "installed").text_features(CAPTIONS) - expected).abs().max() <= 1e-5


def test_without_a_net_the_message_names_what_it_knows(open_clip: Any, tmp_path: Path) -> None:
    settings = BackboneSettings(kind="open_clip", place="RN50x4", pretrained="no_such_tag")
    with pytest.raises(ValueError, match=r"fetch the weights elsewhere .* It knows for RN50x4: openai"):
        install_backbone(settings, tmp_path / "backbone")
    assert not (tmp_path / "backbone").exists()


def test_pretrained_belongs_to_open_clip_alone() -> None:
    with pytest.raises(ValueError, match="quick_gelu is for kind: open_clip"):
        BackboneSettings(kind="folder", place="here", quick_gelu=True)
    assert "quick_gelu" not in BackboneSettings(kind="folder", place="here").model_dump(mode="json")
    with pytest.raises(ValueError, match="pretrained names the weights of kind: open_clip"):
        BackboneSettings(kind="open_clip", place="RN50x4")
    with pytest.raises(ValueError, match="pretrained names the weights of kind: open_clip"):
        BackboneSettings(kind="hub", place="openai/clip-vit-base-patch32", pretrained="openai")


def test_both_stages_run_on_it_through_the_graph(
    written: Written, project: TrialProject, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_backbones({"resnet": {"kind": "folder", "place": str(written("RN50x4"))}})
    stage = {"batch_size": 32, "epochs": 1, "learning_rate": 1.0e-4}
    boutique = {
        "kind": "catalogue",
        "pictures": "examples/boutique/pictures.zip",
        "triplets": "examples/boutique/triplets.csv",
    }
    recipe = {"text_encoder": {**stage, "encoder": "both"}, "combiner": stage}
    project.write_dataset("boutique", source=boutique, backbones=["resnet"], recipes={"both": recipe})
    monkeypatch.chdir(PROJECT)
    result = project.materialize(instance, 'key:"boutique/*"')
    assert result.success
    assert metadata_of(result, "boutique/resnet/image_features")["dimension"] == 24
    assert metadata_of(result, "boutique/resnet/both/image_features")["encoded"] > 0
