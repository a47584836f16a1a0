"""Text full of HTML, quotes, pipes and SQL goes through database, pages and metadata and is shown as what it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from markdown_it import MarkdownIt
from playwright.sync_api import Browser, Page, expect

from cir_assets.pipeline.judging import history
from cir_assets.pipeline.publication import as_markdown
from cir_assets.pipeline.tables import missing_markdown
from cir_assets.reporting.inputs import ReportInputs
from cir_assets.reporting.ladder import ladder_markdown
from cir_assets.reporting.leaderboard import write_leaderboard
from cir_assets.reporting.report import write_report
from cir_assets.store.contracts import RESULTS
from cir_assets.store.publishing import open_publication, publish
from cir_assets.store.results import write_results

HOSTILE = "</script><img src=http://evil.example/x onerror=alert(1)>\"'`|**b**; DROP TABLE rankings;--\\ &lt; {{7*7}}"


def hostile(column: str) -> pl.Expr:
    return pl.concat_str(pl.col(column), pl.lit(f" {HOSTILE}")).alias(column)


@pytest.fixture(scope="module")
def database(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Val's evaluations in a pipeline's results file: every caption, category and id hostile, and the recipe."""
    on_val = pl.col("evaluation_id").str.starts_with("val")
    given = {
        "evaluations": inputs.evaluations.filter(on_val).with_columns(recipe=pl.lit(HOSTILE)),
        "metrics": inputs.metrics.filter(on_val).with_columns(
            category=pl.when(pl.col("category") == "mean").then("category").otherwise(hostile("category"))
        ),
        "left_out": pl.DataFrame(),
        "rankings": inputs.rankings.filter(on_val).with_columns(
            *map(hostile, ("query_id", "category", "reference", "caption", "target"))
        ),
        "retrieved": inputs.retrieved.filter(on_val).with_columns(*map(hostile, ("query_id", "image"))),
        "training_epochs": inputs.training_epochs.with_columns(
            stage=hostile("stage"), recipe=pl.lit(HOSTILE)
        ),
    }
    frames = {
        table.name: given[table.name].with_columns(
            pl.lit(None).alias(name) for name in table.names if name not in given[table.name].columns
        )
        for table in RESULTS
    }
    frames["left_out"] = frames["left_out"].clear()
    file = tmp_path_factory.mktemp("hostile") / "it's.duckdb"
    write_results(file, frames)
    return file


def read_back(database: Path, inputs: ReportInputs) -> ReportInputs:
    names = ("evaluations", "metrics", "rankings", "retrieved", "training_epochs")
    with duckdb.connect(str(database), read_only=True) as connection:
        frames = {name: connection.sql(f"SELECT * FROM {name}").pl() for name in names}
    own = inputs.picture_path
    return replace(
        inputs, recipe=HOSTILE, picture_path=lambda image: own(image.removesuffix(f" {HOSTILE}")), **frames
    )


def opened(browser: Browser, file: Path) -> tuple[Page, list[str]]:
    """A page, and what it said and asked for that it should not have."""
    page, wrong = browser.new_page(), []
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
    page.goto(file.as_uri(), wait_until="commit")
    return page, wrong


def test_the_report_shows_it_as_text(
    database: Path, inputs: ReportInputs, browser: Browser, tmp_path: Path
) -> None:
    given = read_back(database, inputs)
    assert given.rankings["caption"].str.ends_with(HOSTILE).all()
    page, wrong = opened(browser, write_report(given, tmp_path))
    expect(page.locator(".pipeline")).to_contain_text(HOSTILE)
    expect(page.locator(".by-category thead").first).to_contain_text(f"dress {HOSTILE}")
    expect(page.locator(".sheet blockquote").first).to_contain_text(HOSTILE)
    page.locator("#search [name=words]").fill("rankings;--\\ &lt;")
    page.locator("#search [name=category]").select_option(f"shirt {HOSTILE}")
    row = page.locator("#list tbody tr").first
    expect(row.locator(".said-short")).to_contain_text(HOSTILE)
    row.locator(".opener").click()
    expect(page.locator("#opened-query")).to_contain_text(f"shirt {HOSTILE} · val-shirt-q")
    expect(page.locator("#opened .side img").first).to_have_attribute("alt", f"Rank 1: {first_of(page)}")
    page.keyboard.press("Escape")
    chart = page.locator("[data-chart=category-0]")
    chart.scroll_into_view_if_needed()
    expect(chart.locator(".xtick text").first).to_contain_text("<img src=http://evil.example/x")
    assert wrong == []
    page.close()


def first_of(page: Page) -> str:
    """The id of the first picture, as its tip says it."""
    said = page.locator("#opened .side img").first.get_attribute("title") or ""
    assert said.endswith(HOSTILE)
    return said


def test_the_leaderboard_shows_it_as_text(database: Path, browser: Browser, tmp_path: Path) -> None:
    publish([database], {}, tmp_path / "evaluation.duckdb")
    with open_publication(tmp_path / "evaluation.duckdb") as connection:
        page, wrong = opened(browser, write_leaderboard(connection, tmp_path))
    expect(page.locator(".board tbody tr").first).to_contain_text(HOSTILE)
    expect(page.locator(".board .ytick text").first).to_contain_text("<img src=http://evil.example/x")
    assert wrong == []
    page.close()


def cells(markdown: str) -> list[list[str]]:
    """Rows of a Markdown table as a reader sees them; whatever is not plain text or bold is refused."""
    rows: list[list[str]] = []
    for token in MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(markdown):
        assert not token.type.startswith("html"), token.content
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline" and rows:
            within = token.children or []
            assert {part.type for part in within} <= {"text", "text_special", "strong_open", "strong_close"}
            rows[-1].append("".join(part.content for part in within))
    return rows


def test_metadata_shows_it_as_text(inputs: ReportInputs) -> None:
    two_lines = f"{HOSTILE}\n# next\r\n| a |"
    one_line = f"{HOSTILE} # next | a |"
    rows = cells(as_markdown([(two_lines, "b", "r", "val", "p", "combiner", None), (*"abcdef", 51.25)]))
    assert rows[1:] == [[one_line, "b", "r", "val", "p", "combiner", "–"], [*"abcdef", "51.25"]]
    decisions = pl.DataFrame(
        {
            "decided_at": [datetime(2026, 3, 1, 12)],
            "decision": ["refused"],
            "challenger": ["abcdef0123"],
            "challenger_headline": [51.0],
            "difference": [None],
            "reason": [two_lines],
        }
    )
    assert cells(history(decisions))[1][-1] == one_line
    missing = pl.DataFrame(
        {"split": ["val"], "category": [two_lines], "in_gallery": [1], "triplets_lost": [2]}
    )
    assert cells(missing_markdown(missing))[1] == ["val", one_line, "1", "2"]
    ladder = ladder_markdown(inputs.evaluations.with_columns(method=pl.lit(HOSTILE)), inputs.metrics)
    assert cells(ladder)[1][0] == HOSTILE
