"""A card holds what the Hub reads and people ask: figures with intervals, beside what others reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
import yaml

from cir_assets.reporting.card import Subject, model_card
from cir_assets.store.contracts import EVALUATIONS, METRICS
from tests.store.test_results import frames

SUBJECT = Subject(
    title="combiner of fashioniq/rn50x4/paper",
    meaning="the Combiner",
    dataset="fashioniq",
    backbone="rn50x4",
    base="RN50x4 of open_clip, weights openai",
    methods=["combiner"],
    made={"settings": {"epochs": 300, "batch_size": 4096}, "protocol": "fashioniq"},
    loading="combiner = Combiner.from_pretrained('here')",
    library="cir_assets",
    embedded=False,
)


def said(card: str) -> dict[str, Any]:
    _, metadata, _ = card.split("---\n", 2)
    read: dict[str, Any] = yaml.safe_load(metadata)
    return read


def test_figures_stand_beside_those_of_the_paper() -> None:
    tables = frames("one", headline=50.0)
    card = model_card(SUBJECT, tables["evaluations"], tables["metrics"])
    assert "50.0 (49.0–51.0)" in card
    assert "| CLIP4Cir, CLIP RN50x4 (CVPRW 2022) | 38.32 | 61.74 | 50.03 |" in card
    assert "| settings.batch_size | `4096` |" in card
    assert SUBJECT.loading in card
    read = said(card)
    assert read["license"] == "other"
    [model] = read["model-index"]
    values = {metric["type"]: metric["value"] for each in model["results"] for metric in each["metrics"]}
    assert values == {"recall_at_10": 40.0, "recall_at_50": 60.0, "headline": 50.0}
    assert {each["dataset"]["split"] for each in model["results"]} == {"val"}


@pytest.mark.parametrize("method", ["sum", "text_encoder_sum"])
def test_figures_of_other_methods_are_not_its_own(method: str) -> None:
    tables = frames("one")
    card = model_card(replace(SUBJECT, methods=[method]), tables["evaluations"], tables["metrics"])
    assert "It was not evaluated yet." in card
    assert "model-index" not in said(card)


def test_the_embedded_pair_is_free_and_a_base_of_the_hub_is_named() -> None:
    nothing = pl.DataFrame(schema=EVALUATIONS.schema), pl.DataFrame(schema=METRICS.schema)
    assert said(model_card(replace(SUBJECT, embedded=True), *nothing))["license"] == "mit"
    of_hub = said(model_card(replace(SUBJECT, base="openai/clip-vit-base-patch32"), *nothing))
    assert of_hub["base_model"] == "openai/clip-vit-base-patch32"
