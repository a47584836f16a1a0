"""Hyper-parameters: the paper's unless named otherwise, and refused when they make no sense."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import BaseModel, ValidationError

from cir_assets.training.settings import CombinerSettings, Recipe, TextEncoderSettings


def test_stage_1_is_the_papers_recipe_unless_told_otherwise() -> None:
    settings = TextEncoderSettings()
    assert (settings.learning_rate, settings.betas, settings.eps) == (2e-6, (0.9, 0.999), 1e-7)
    assert (settings.weight_decay, settings.batch_size, settings.epochs) == (0.01, 512, 100)
    assert (settings.logit_scale, settings.encoder, settings.selection) == (100.0, "text", "headline")
    assert settings.mixed_precision


def test_stage_2_is_the_papers_recipe_unless_told_otherwise() -> None:
    settings = CombinerSettings()
    assert (settings.learning_rate, settings.weight_decay, settings.logit_scale) == (2e-5, 0.0, 100.0)
    assert (settings.batch_size, settings.epochs, settings.dropout) == (4096, 300, 0.5)
    assert (settings.projection_multiple, settings.hidden_multiple) == (4, 8)
    assert settings.mixed_precision


@pytest.mark.parametrize("settings", [TextEncoderSettings, CombinerSettings, Recipe])
def test_every_field_says_what_it_is(settings: type[BaseModel]) -> None:
    unexplained = [name for name, field in settings.model_fields.items() if not field.description]
    assert unexplained == []


@pytest.mark.parametrize(
    ("stage", "key", "value"),
    [
        ("text_encoder", "learning_rate", 0),
        ("text_encoder", "betas", [0.9, 1.0]),
        ("text_encoder", "batch_size", 1),
        ("text_encoder", "encoder", "audio"),
        ("text_encoder", "lerning_rate", 1e-5),
        ("combiner", "dropout", 1.0),
        ("combiner", "epochs", 0),
        ("combiner", "epochs", "many"),
        ("combiner", "selection", "recall"),
    ],
)
def test_a_wrong_key_type_or_range_is_refused_by_its_name(stage: str, key: str, value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        Recipe.model_validate({stage: {key: value}})
    assert refused.value.errors()[0]["loc"][:2] == (stage, key)


def test_what_a_recipe_leaves_out_keeps_its_default() -> None:
    recipe = Recipe.model_validate({"combiner": {"epochs": 7}})
    assert recipe.combiner.epochs == 7
    assert recipe.combiner.batch_size == 4096
    assert recipe.text_encoder == TextEncoderSettings()


def test_reading_settings_imports_no_torch() -> None:
    program = "import sys, cir_assets.training.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
