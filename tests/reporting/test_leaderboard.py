"""The leaderboard's page, made from a published database and looked at in a real browser."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser, expect

from cir_assets.reporting import leaderboard
from cir_assets.reporting.leaderboard import write_leaderboard
from cir_assets.retrieval.reported_figures import reported_figures
from cir_assets.store.promotions import Decision, PromotionLog
from cir_assets.store.publishing import open_publication, publish
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
        if recipe == "small":
            precision = {"metric": pl.lit("mean_average_precision"), "value": pl.lit(17.25)}
            recall = made["metrics"].filter(pl.col("metric") == "recall", pl.col("k") == 10)
            made["metrics"] = pl.concat([made["metrics"], recall.with_columns(**precision)])
        files.append(folder / f"{number}.duckdb")
        write_results(files[-1], made)
    return files


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two data sets; average precision was measured for one recipe of the second."""
    tmp_path = tmp_path_factory.mktemp("leaderboard")
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
    publish(files, {}, tmp_path / "evaluation.duckdb", [log.file], reported_figures())
    with open_publication(tmp_path / "evaluation.duckdb") as connection:
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
    expect(boards.nth(0).locator("tbody tr td:nth-child(3)")).to_have_text(["best", "paper"])
    expect(boards.nth(0).locator(".main-svg").first).to_be_visible()
    expect(shown.get_by_role("region", name="Ours beside published figures")).to_contain_text("38.32")
    expect(shown.get_by_role("region", name="Decisions about champions")).to_contain_text("lower bound -3.1")
    shown.get_by_label("Data set, split and protocol").select_option(label="all")
    expect(boards.nth(1)).to_be_visible()
    expect(boards.nth(1)).to_contain_text(HOSTILE)
    shown.get_by_label("Words in any column").fill("paper")
    expect(shown.locator("output")).to_have_text("1 evaluation")
    shown.get_by_label("Words in any column").fill("")
    boards.nth(0).get_by_role("button", name="Headline").click()
    boards.nth(0).get_by_role("button", name="Headline").click()
    expect(boards.nth(0).locator("tbody tr td:nth-child(3)")).to_have_text(["paper", "best"])
    assert said == []
    shown.close()


def test_every_row_leads_to_its_pipelines_report(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert 'href="fashioniq/rn50x4/best/index.html"' in text
    assert "<img src=x" not in text


def test_a_phone_in_the_dark_shows_the_protocols_own_metrics_and_colours_change(
    browser: Browser, page: Path
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 780}, color_scheme="dark")
    shown = context.new_page()
    shown.goto(page.as_uri())
    boards = shown.locator(".board")
    bar = boards.nth(0).locator(".bars path").first
    expect(bar).to_have_css("fill", "rgb(63, 208, 191)")
    expect(boards.nth(0).locator(".swatch").first).to_have_css("background-color", "rgb(63, 208, 191)")
    assert shown.evaluate("document.documentElement.scrollWidth") <= 360
    shown.get_by_role("button", name="Colours: as the system has them").click()
    expect(shown.get_by_role("button", name="Colours: light")).to_be_visible()
    expect(bar).to_have_css("fill", "rgb(15, 118, 110)")
    expect(boards.nth(0).locator(".swatch").first).to_have_css("background-color", "rgb(15, 118, 110)")
    expect(shown.locator("body")).to_have_css("background-color", "rgb(246, 244, 239)")
    shown.get_by_label("Data set, split and protocol").select_option(label="wardrobe · val · fashioniq")
    heads = ["Method", "Headline", "Recipe", "Backbone", "mAP@10", "R@10", "R@50"]
    expect(boards.nth(1).locator("thead th")).to_have_text(heads)
    expect(boards.nth(1).locator("tbody td:nth-child(5)")).to_have_text(["17.2", "–"])
    context.close()


def test_a_table_that_is_cut_says_so(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "are shown; all stand in" not in page.read_text(encoding="utf-8")
    monkeypatch.setattr(leaderboard, "LISTED_REPORTED", 3)
    with open_publication(page.parents[1] / "evaluation.duckdb") as connection:
        text = write_leaderboard(connection, tmp_path).read_text(encoding="utf-8")
        total = connection.sql("SELECT count(*) FROM against_published WHERE category = 'mean'").fetchall()[
            0
        ][0]
    assert f"The first 3 of {total} are shown; all stand in the view" in text


def test_equal_tables_give_equal_bytes_and_no_evaluation_says_so(tmp_path: Path, page: Path) -> None:
    with open_publication(page.parents[1] / "evaluation.duckdb") as connection:
        again = write_leaderboard(connection, tmp_path / "again")
    assert again.read_bytes() == page.read_bytes()
    publish([], {}, tmp_path / "empty.duckdb")
    with open_publication(tmp_path / "empty.duckdb") as connection:
        empty = write_leaderboard(connection, tmp_path / "nothing")
    assert "Nothing was evaluated yet" in empty.read_text(encoding="utf-8")
