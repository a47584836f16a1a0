"""What the leaderboard publishes: every pipeline with results, and names as text."""

from __future__ import annotations

import duckdb

from cir_assets.pipeline.publication import as_markdown, places_with_results, publication
from cir_assets.retrieval.methods import METHODS
from tests.pipeline.conftest import ByHand


def test_every_evaluation_is_published_and_told(by_hand: ByHand) -> None:
    made = by_hand.made["leaderboard"]
    assert (made.metadata["pipelines"], made.metadata["evaluations"]) == (1, 2 * len(METHODS))
    with duckdb.connect(str(by_hand.work.storage.evaluation), read_only=True) as published:
        assert published.sql("SELECT count(*) FROM leaderboard").fetchall() == [(2 * len(METHODS),)]


def test_a_data_set_set_aside_is_found_by_its_files_and_published_alike(by_hand: ByHand) -> None:
    assert places_with_results(by_hand.work, "shop") == [("shop", "tiny_clip", "quick")]
    assert places_with_results(by_hand.work, "other") == []
    known = publication(by_hand.work, [by_hand.pipeline], [])
    assert publication(by_hand.work, [], ["shop"]).inputs == known.inputs


def test_names_stand_in_the_table_as_text_and_what_was_not_measured_is_a_dash() -> None:
    table = as_markdown([("a|b", "tiny_clip", "quick", "val", "cirr", "combiner", None)])
    assert "a|b" not in table
    assert table.splitlines()[-1].endswith("| – |")
