"""An asset stands where a reader looks for its data set, backbone and recipe, and carries them as tags."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cir_assets.components.graph import pipelines_of
from cir_assets.components.specification import DatasetSpec
from cir_assets.graph.belonging import Place, place_of
from cir_assets.models.settings import BackboneSettings
from cir_assets.pipeline.identity import Pipeline

TINY = BackboneSettings(kind="embedded", place="tiny_clip")


def pipeline(backbones: Sequence[str]) -> Pipeline:
    source = {"kind": "wardrobe", "size": 1000}
    spec = DatasetSpec.model_validate(
        {"source": source, "backbones": backbones, "recipes": {"small": {}}, "owners": ["team:shop"]}
    )
    return pipelines_of("shop", spec, dict.fromkeys(backbones, TINY))[0]


@pytest.mark.parametrize(
    ("backbones", "group"), [(["tiny"], "shop_small"), (["tiny", "large"], "shop_tiny_small")]
)
def test_what_belongs_to_a_pipeline_says_recipe_and_backbone(backbones: list[str], group: str) -> None:
    tags = {"dataset": "shop", "backbone": "tiny", "recipe": "small"}
    assert place_of(pipeline(backbones)) == Place(group, ("team:shop",), "`small` on `tiny`. ", tags)


def test_what_belongs_to_less_stands_with_its_data_set_or_in_a_group_of_its_own() -> None:
    encoded = pipeline(["tiny"]).encoded
    tags = {"dataset": "shop", "backbone": "tiny"}
    assert place_of(encoded) == Place("shop", ("team:shop",), "`tiny`. ", tags)
    assert place_of(encoded.data) == Place("shop", ("team:shop",), "", {"dataset": "shop"})
    assert place_of("leaderboard") == Place("leaderboard", ["team:retrieval"], "", {})
