"""A comparison as a page: what changed, in pictures, with nothing asked of the net."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, expect

from cir_assets.command_line import main
from cir_assets.reporting.comparison import compare_rankings
from cir_assets.reporting.comparison_page import write_comparison
from cir_assets.reporting.inputs import ReportInputs
from cir_assets.store.publishing import publish
from cir_assets.store.results import write_results
from tests.store.test_results import frames

HOSTILE = "<script>alert(1)</script>\"'; DROP TABLE rankings;--"


def ranked(inputs: ReportInputs, method: str) -> pl.DataFrame:
    return inputs.rankings.filter(pl.col("evaluation_id") == f"val-fashioniq-{method}").with_columns(
        caption=pl.lit(HOSTILE), subset_rank=pl.lit(None, pl.Int32)
    )


@pytest.fixture
def page(inputs: ReportInputs, tmp_path: Path) -> Path:
    found = compare_rankings(ranked(inputs, "sum"), ranked(inputs, "combiner"), "fashioniq")
    return write_comparison(
        tmp_path / "compared.html", ("a/b/c/sum", "a/b/c/combiner"), found, inputs.picture_path, each=6
    )


def test_gains_and_losses_are_shown_in_pictures(browser: Browser, page: Path, inputs: ReportInputs) -> None:
    shown = browser.new_page()
    said: list[str] = []
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("dialog", lambda dialog: said.append(dialog.message))
    shown.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
    shown.goto(page.as_uri())
    rows = shown.locator("#figures ~ .scroll tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("headline")
    gained = shown.locator("section[aria-labelledby=group-1] .sheet")
    expect(gained).to_have_count(6)
    expect(gained.first).to_contain_text(HOSTILE)
    pictures = shown.locator(".sheet img")
    assert pictures.count() >= 12
    assert pictures.first.evaluate("picture => picture.naturalWidth") > 0
    joined = ranked(inputs, "sum").join(ranked(inputs, "combiner"), on="query_id", suffix="_after")
    most = joined.select((pl.col("target_rank") - pl.col("target_rank_after")).max()).item()
    before, after = gained.first.locator(".placed").inner_text().split(" → ")
    assert int(before) - int(after) == most
    assert said == []
    shown.close()


def test_equal_inputs_give_equal_bytes(page: Path, inputs: ReportInputs, tmp_path: Path) -> None:
    found = compare_rankings(ranked(inputs, "sum"), ranked(inputs, "combiner"), "fashioniq")
    names = ("a/b/c/sum", "a/b/c/combiner")
    again = write_comparison(tmp_path / "again.html", names, found, inputs.picture_path, each=6)
    assert again.read_bytes() == page.read_bytes()


def test_an_evaluation_against_itself_has_neither(inputs: ReportInputs, tmp_path: Path) -> None:
    found = compare_rankings(ranked(inputs, "sum"), ranked(inputs, "sum"), "fashioniq")
    page = write_comparison(tmp_path / "same.html", ("a", "a"), found, inputs.picture_path)
    assert page.read_text(encoding="utf-8").count("No query.") == 2


def test_the_command_says_what_it_needs_to_know_where_pictures_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_results(tmp_path / "only.duckdb", frames("e"))
    publish([tmp_path / "only.duckdb"], {}, tmp_path / "evaluation.duckdb")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    name = "fashioniq/rn50x4/paper/combiner"
    done = CliRunner().invoke(main, ["compare", name, name, "--page", str(tmp_path / "page.html")])
    assert done.exit_code == 1
    assert "asset …/search: materialize it first" in done.output
    assert not (tmp_path / "page.html").exists()
