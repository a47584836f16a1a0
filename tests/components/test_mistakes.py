"""A mistake in a YAML is told by its place and key, with what was meant and what is known."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cir_assets.components.mistakes import known_keys, told


class Stage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    epochs: int = Field(1, gt=0)
    batch_size: int = 8


class Given(BaseModel):
    model_config = ConfigDict(extra="forbid")
    file: str


class Shop(BaseModel):
    model_config = ConfigDict(extra="forbid")
    pictures: str
    recipes: dict[str, Stage] = {}
    steps: list[Annotated[Stage | Given, Field()]] = []

    @field_validator("pictures")
    @classmethod
    def _there(cls, value: str) -> str:
        if value == "nowhere":
            raise ValueError("expected a folder")
        return value


def mistakes(content: object, lines: dict[tuple[str, ...], str] | None = None) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Shop.model_validate(content)
    return told(caught.value, Shop, lines).splitlines()


def test_each_mistake_is_one_sentence_that_names_key_wanted_and_found() -> None:
    assert mistakes({"picture": "p", "recipes": {"quick": {"epoch": 3, "epochs": 0}}}) == [
        "attributes: the key pictures is missing",
        "recipes.quick.epochs: Input should be greater than 0, not 0",
        "recipes.quick: no key epoch; did you mean epochs; known: batch_size, epochs",
        "attributes: no key picture; did you mean pictures; known: pictures, recipes, steps",
    ]
    assert mistakes({"pictures": "nowhere"}) == ["pictures: expected a folder, not 'nowhere'"]


def test_the_line_is_that_of_the_key_or_of_the_nearest_above_it() -> None:
    lines = {(): "my.yaml:2", ("recipes", "quick"): "my.yaml:5", ("recipes", "quick", "epochs"): "my.yaml:7"}
    said = mistakes({"recipes": {"quick": {"epochs": 0, "batch_size": "many"}}}, lines)
    assert [sentence.partition(": ")[0] for sentence in said] == ["my.yaml:2", "my.yaml:7", "my.yaml:5"]


def test_a_place_dagster_wrote_into_an_error_is_read_from_it() -> None:
    placed = "attributes.recipes.quick.epochs at /shop/defs.yaml:7"
    error = ValidationError.from_exception_data(
        "Shop", [{"type": "greater_than", "loc": (placed,), "input": 0, "ctx": {"gt": 0}}]
    )
    assert told(error, Shop) == (
        "/shop/defs.yaml:7: recipes.quick.epochs: Input should be greater than 0, not 0"
    )


def test_the_keys_of_a_place_are_those_of_every_model_that_may_stand_there() -> None:
    assert known_keys(Shop, ["recipes", "any"]) == ["batch_size", "epochs"]
    assert known_keys(Shop, ["steps", "0"]) == ["batch_size", "epochs", "file"]
    assert known_keys(Shop, ["pictures"]) == known_keys(Shop, ["absent", "key"]) == []
