"""A list of runs is read by its tags: which data set and recipe each makes, and why."""

from __future__ import annotations

import dagster as dg

from cir_assets.graph.run_tags import run_tags


def keys(*names: str) -> list[dg.AssetKey]:
    return [dg.AssetKey(name.split("/")) for name in names]


def test_data_set_recipe_and_reason_are_told_where_there_are_any() -> None:
    asked = keys("shop/raw", "shop/tiny_clip/small/combiner", "backbones/tiny_clip", "leaderboard")
    assert run_tags(asked, {}) == {
        "dataset": "shop",
        "recipe": "small",
        "because": "a person asked for it",
    }
    assert run_tags(keys("leaderboard"), {"dagster/schedule_name": "nightly"}) == {
        "because": "the schedule nightly"
    }


def test_what_a_run_says_already_stays_and_many_names_are_counted() -> None:
    asked = keys(*(f"shop_{n}/tiny_clip/small/report" for n in range(5)))
    said = run_tags(asked, {"because": "files changed", "dagster/sensor_name": "shop_files"})
    assert said == {"dataset": "shop_0, shop_1, shop_2 and 2 more", "recipe": "small"}
