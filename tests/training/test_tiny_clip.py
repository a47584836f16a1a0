"""The embedded backbone: its language, its pre-training, and the weights that ship."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, CLIPModel, PreTrainedTokenizerFast

from cir_assets.datasets.wardrobe.language import vocabulary_corpus
from cir_assets.engines.progress import Progress, ProgressFactory
from cir_assets.models.backbone import Backbone
from cir_assets.models.transformers_network import TransformersNetwork
from cir_assets.training.tiny_clip import (
    END,
    START,
    PretrainingSettings,
    attribute_accuracies,
    held_out_figures,
    pretrain,
    pretraining_pairs,
    save,
    shorten_text_features,
    tiny_model,
    tiny_tokenizer,
)

EMBEDDED = Path(__file__).parents[2] / "cir_assets" / "models" / "tiny_clip"
SMALL = PretrainingSettings(pairs=48, epochs=3, batch_size=16, vocabulary=400, vocabulary_garments=200)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer(640, seed=1, garments=1_000)


@pytest.fixture(scope="module")
def embedded() -> Backbone:
    return Backbone.load(EMBEDDED, "cpu")


def test_words_of_the_wardrobe_are_one_or_two_tokens_each(tokenizer: PreTrainedTokenizerFast) -> None:
    sentences = list(vocabulary_corpus(seed=99, count=50))
    words = sum(len(sentence.split()) for sentence in sentences)
    tokens = sum(len(ids) for ids in tokenizer(sentences)["input_ids"])
    assert tokens / words < 1.6


@pytest.mark.parametrize(
    "text", ["naïve ünïcode", "漢字 and кириллица", "😀!", "photosynthesis 1,234.5", "", "\x00\u200b"]
)
def test_any_text_becomes_tokens_and_back_in_lower_case(
    tokenizer: PreTrainedTokenizerFast, text: str
) -> None:
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.convert_tokens_to_ids(START)
    assert ids[-1] == tokenizer.convert_tokens_to_ids(END)
    assert str(tokenizer.decode(ids, skip_special_tokens=True)).strip() == text.lower()


def test_upper_and_lower_case_are_one(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer("A RED Dress")["input_ids"] == tokenizer("a red dress")["input_ids"]


def test_the_model_is_small_enough_to_ship(tokenizer: PreTrainedTokenizerFast) -> None:
    parameters = sum(parameter.numel() for parameter in tiny_model(tokenizer).parameters())
    assert 1_000_000 <= parameters <= 2_000_000


def test_pairs_are_decided_by_seed_and_place_alone() -> None:
    pixels, descriptions = pretraining_pairs(seed=1, first=10, count=6, progress=Progress, workers=1)
    again, said = pretraining_pairs(seed=1, first=12, count=4, progress=Progress, workers=1)
    assert (pixels[2:] == again).all()
    assert descriptions[2:] == said
    assert len(set(descriptions)) > 1
    assert pixels.shape == (6, 64, 64, 3)


class Stopped(Exception):
    """What stands for a person's Ctrl-C in the middle of a pre-training."""


def stopped_at(step: int) -> ProgressFactory:
    class Stopping(Progress):
        def advance(self, count: int = 1, note: str = "") -> None:
            super().advance(count, note)
            if self.description == "pre-train tiny_clip" and self.done >= step:
                raise Stopped

    return Stopping


def test_a_pretraining_broken_off_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = pretrain(SMALL, "cpu", tmp_path / "whole", Progress)
        with pytest.raises(Stopped):
            pretrain(SMALL, "cpu", tmp_path / "broken", stopped_at(8))
        seen: list[int] = []

        class Counted(Progress):
            def advance(self, count: int = 1, note: str = "") -> None:
                if self.description == "pre-train tiny_clip":
                    seen.append(count)

        resumed = pretrain(SMALL, "cpu", tmp_path / "broken", Counted)
    finally:
        torch.set_num_threads(threads)
    assert seen == [6, 1, 1, 1]  # two whole epochs were there, the third was made again
    weights = resumed.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in whole.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in resumed.model.parameters())


def test_what_is_saved_loads_in_transformers_and_keeps_its_card(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    backbone = Backbone(TransformersNetwork(tiny_model(tokenizer), tokenizer), "untrained", "cpu")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "README.md").write_text("the card", encoding="utf-8")
    save(backbone, folder)
    assert (folder / "README.md").read_text(encoding="utf-8") == "the card"
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert loaded("a Red dress, naïve")["input_ids"] == tokenizer("a Red dress, naïve")["input_ids"]
    model = CLIPModel.from_pretrained(folder, local_files_only=True)
    assert all(
        torch.equal(value, backbone.model.state_dict()[name]) for name, value in model.state_dict().items()
    )


def test_the_embedded_weights_take_at_most_8_mb_and_explain_themselves() -> None:
    assert (EMBEDDED / "model.safetensors").stat().st_size <= 8_000_000
    assert sum(file.stat().st_size for file in EMBEDDED.iterdir()) <= 8_000_000
    assert "make tiny-clip" in (EMBEDDED / "README.md").read_text(encoding="utf-8")


def test_the_embedded_tokenizer_knows_the_words_of_the_wardrobe(embedded: Backbone) -> None:
    sentences = list(vocabulary_corpus(seed=99, count=50))
    words = sum(len(sentence.split()) for sentence in sentences)
    assert sum(len(ids) for ids in embedded.tokenise(sentences)) / words < 1.6


def test_the_embedded_backbone_finds_pictures_it_never_saw_by_their_descriptions(embedded: Backbone) -> None:
    first = PretrainingSettings.pairs + PretrainingSettings.held_out
    pixels, descriptions = pretraining_pairs(PretrainingSettings.seed, first, 200, Progress, workers=1)
    figures = held_out_figures(embedded, pixels, descriptions)
    assert figures["text_to_image_recall_at_1"] > 50
    assert figures["text_to_image_recall_at_10"] > 90


def test_the_embedded_backbones_features_tell_attributes_far_above_chance(embedded: Backbone) -> None:
    accuracies = attribute_accuracies(embedded, pictures=900, seed=31)
    assert accuracies["colour_accuracy"] > 60  # chance: 8
    assert accuracies["pattern_accuracy"] > 55  # chance: 30, the share of plain garments
    assert accuracies["length_accuracy"] > 80  # chance: 33


def test_shortened_text_features_have_the_length_asked_for_and_keep_their_direction(
    embedded: Backbone,
) -> None:
    pixels, descriptions = pretraining_pairs(seed=5, first=0, count=24, progress=Progress, workers=1)
    backbone = Backbone.load(EMBEDDED, "cpu")
    shorten_text_features(backbone, pixels, descriptions, PretrainingSettings(text_length=0.25))
    text, before = backbone.text_features(descriptions), embedded.text_features(descriptions)
    image = backbone.encode_images(pixels)
    assert float(text.norm(dim=1).mean() / image.norm(dim=1).mean()) == pytest.approx(0.25, rel=1e-4)
    assert float(torch.cosine_similarity(text, before).min()) == pytest.approx(1.0, abs=1e-5)
