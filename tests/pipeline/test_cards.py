"""Every evaluated version of a model has its card, and no version changes by it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cir_assets.components.graph import pipelines_of
from cir_assets.components.specification import DatasetSpec
from cir_assets.models.backbone import Backbone
from cir_assets.models.combiner import Combiner
from cir_assets.models.files import weights_version
from cir_assets.models.installation import EMBEDDED
from cir_assets.models.saving import save_combiner, save_text_encoder
from cir_assets.models.settings import BackboneSettings
from cir_assets.models.stages import MODELS, TEXT_ENCODER
from cir_assets.pipeline.cards import write_cards
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.step import Work
from cir_assets.store.layout import Storage
from cir_assets.store.ledger import Ledger
from cir_assets.store.made import Made, is_intact
from tests.store.test_results import frames

TINY_CLIP = {"tiny_clip": BackboneSettings(kind="embedded", place="tiny_clip")}


def pipeline(**said: object) -> Pipeline:
    attributes = {"source": {"kind": "wardrobe"}, "backbones": ["tiny_clip"], **said}
    return pipelines_of("wardrobe", DatasetSpec.model_validate(attributes), TINY_CLIP)[0]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """A storage folder with one version of each model, as trainings leave them."""
    work = Work(Storage(tmp_path), say=lambda sentence: None)
    trained = pipeline(recipes={"small": {}})
    about = {"settings": {"epochs": 6, "batch_size": 128}, "protocol": "fashioniq"}
    for model in MODELS:
        folder = work.storage.models(*trained.place, model) / "version"
        folder.mkdir(parents=True)
        if model == TEXT_ENCODER:
            save_text_encoder(folder, Backbone.load(EMBEDDED / "tiny_clip"), about)
        else:
            save_combiner(folder, Combiner(128, 16, 16), about)
        made = Made(weights_version(folder), {}, {}, files=sorted(folder.iterdir()))
        Ledger(work.storage.ledger).record(trained.name(model), made.to_entry("version", tmp_path))
    return work


def results() -> dict[str, pl.DataFrame]:
    tables = frames("one")
    tables["evaluations"] = tables["evaluations"].with_columns(dataset=pl.lit("wardrobe"))
    return tables


def test_each_model_gets_its_own_card_and_stays_what_it_was(work: Work) -> None:
    trained = pipeline(recipes={"small": {}})
    cards = write_cards(work, trained, results())
    assert [card.parent.parent.name for card in cards] == [*MODELS]
    for model, card in zip(MODELS, cards, strict=True):
        text = card.read_text()
        assert f"# {model} of wardrobe/tiny_clip/small" in text
        assert "license: mit" in text
        assert "| settings.epochs | `6` |" in text
        entry = Ledger(work.storage.ledger).latest(trained.name(model))
        assert entry is not None
        assert entry.data_version == weights_version(card.parent)
        assert is_intact(entry, work.storage.root)
    told = {model: card.read_text() for model, card in zip(MODELS, cards, strict=True)}
    assert "CLIPTextModelWithProjection.from_pretrained" in told[TEXT_ENCODER]
    assert "50.0 (49.0–51.0)" in told["combiner"]
    assert "It was not evaluated yet." in told["combiner_frozen_clip"]


def test_models_of_another_data_set_keep_the_card_they_have(work: Work) -> None:
    evaluated_here = pipeline(models_of={"theirs": {"dataset": "wardrobe", "recipe": "small"}})
    assert write_cards(work, evaluated_here, results()) == []
