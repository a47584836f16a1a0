"""The leaderboard's page, made from a published database and looked at in a real browser."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser, expect

from cir_assets.reporting.leaderboard import write_leaderboard
from cir_assets.store.promotions import Decision, PromotionLog
from cir_assets.store.publishing import publish, published
from cir_assets.store.results import write_results
from tests.store.test_results import frames

HOSTILE = "<img src=x onerror=alert(1)>\"'; DROP TABLE metrics;--"


def results(folder: Path, *, recipes: dict[str, float]) -> list[Path]:
    """One results file a recipe, whose headline is as given; every other recipe is of another data set."""
    files = []
    for number, (recipe, headline) in enumerate(recipes.items()):
        made = frames(f"e{number}", headline=headline)
        made["evaluations"] = made["evaluations"].with_columns(
            recipe=pl.lit(recipe), dataset=pl.lit("wardrobe" if number % 2 else "fashioniq")
        )
        files.append(folder / f"{number}.duckdb")
        write_results(files[-1], made)
    return files


@pytest.fixture
def page(tmp_path: Path) -> Path:
    files = results(tmp_path, recipes={"paper": 48.0, "small": 41.0, "best": 52.5, HOSTILE: 12.0})
    log = PromotionLog(tmp_path / "best.parquet")
    log.add(
        Decision(
            dataset="fashioniq",
            backbone="rn50x4",
            recipe="best",
            decided_at=datetime(2026, 3, 1, 12),
            decision="refused",
            reason="its lower bound -3.1 is below -0.5",
            models={"fashioniq/rn50x4/best/combiner": "v2"},
            champion="abc",
            method="combiner",
            split="val",
            protocol="fashioniq",
            queries=2,
            challenger_headline=51.0,
            champion_headline=52.5,
        )
    )
    publish(files, {}, tmp_path / "evaluation.duckdb", [log.file])
    with published(tmp_path / "evaluation.duckdb") as connection:
        return write_leaderboard(connection, tmp_path / "reports")


def test_boards_stand_apart_best_first_with_published_figures_beside(browser: Browser, page: Path) -> None:
    shown = browser.new_page()
    said: list[str] = []
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("dialog", lambda dialog: said.append(dialog.message))
    shown.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    shown.goto(page.as_uri())
    boards = shown.locator(".board")
    expect(boards).to_have_count(2)
    expect(boards.nth(0)).to_be_visible()
    expect(boards.nth(1)).to_be_hidden()
    expect(boards.nth(0).locator("tbody tr td:nth-child(2)")).to_have_text(["best", "paper"])
    expect(boards.nth(0).locator(".main-svg").first).to_be_visible()
    expect(shown.get_by_role("region", name="Ours beside published figures")).to_contain_text("38.32")
    expect(shown.get_by_role("region", name="Decisions about champions")).to_contain_text("lower bound -3.1")
    shown.get_by_label("Data set, split and protocol").select_option(label="all")
    expect(boards.nth(1)).to_be_visible()
    expect(boards.nth(1)).to_contain_text(HOSTILE)
    shown.get_by_label("Words in any column").fill("paper")
    expect(shown.locator("output")).to_have_text("1 evaluations")
    shown.get_by_label("Words in any column").fill("")
    boards.nth(0).get_by_role("button", name="Headline").click()
    boards.nth(0).get_by_role("button", name="Headline").click()
    expect(boards.nth(0).locator("tbody tr td:nth-child(2)")).to_have_text(["paper", "best"])
    assert said == []
    shown.close()


def test_every_row_leads_to_its_pipelines_report(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert 'href="fashioniq/rn50x4/best/index.html"' in text
    assert "<img src=x" not in text


def test_equal_tables_give_equal_bytes_and_no_evaluation_says_so(tmp_path: Path, page: Path) -> None:
    with published(tmp_path / "evaluation.duckdb") as connection:
        again = write_leaderboard(connection, tmp_path / "again")
    assert again.read_bytes() == page.read_bytes()
    publish([], {}, tmp_path / "empty.duckdb")
    with published(tmp_path / "empty.duckdb") as connection:
        empty = write_leaderboard(connection, tmp_path / "nothing")
    assert "Nothing was evaluated yet" in empty.read_text(encoding="utf-8")
