"""The report of one pipeline stands by itself, beside its pictures."""

from __future__ import annotations

from pathlib import Path

from cir_assets.pipeline.report import SHOWN, addresses_asked_for, report_inputs, results_of
from tests.pipeline.conftest import ByHand


def test_the_page_asks_for_nothing_outside_and_its_files_are_those_told(by_hand: ByHand) -> None:
    made = by_hand.made["shop/tiny_clip/quick/report"]
    page, sheet, pictures, *cards = made.files
    assert page.parent == by_hand.work.storage.report("shop", "tiny_clip", "quick") == sheet.parent
    assert addresses_asked_for(page.read_text(encoding="utf-8")) == []
    assert list(Path(pictures).rglob("*.jpg"))
    assert {card.name for card in cards} == {"README.md"}
    assert all(check.passed for check in made.checks.values())


def test_it_is_made_of_the_pipelines_own_results_and_pictures(by_hand: ByHand) -> None:
    results = results_of(by_hand.work, by_hand.pipeline)
    assert tuple(results) == SHOWN
    inputs = report_inputs(by_hand.work, by_hand.pipeline, results)
    image = results["rankings"]["target"][0]
    path = inputs.picture_path(image)
    assert path is not None
    assert path.is_file()
    assert inputs.picture_path("nobody") is None
