"""The report asks nothing of the net, shows what it should, and takes any text as text."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from cir_assets.pipeline.report import addresses_asked_for
from cir_assets.reporting.inputs import ReportInputs
from cir_assets.reporting.ladder import ladder_markdown
from cir_assets.reporting.report import write_report
from cir_assets.retrieval.methods import METHODS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NASTY = '<img src=http://evil.example/x onerror=alert(1)> "red" & \'; DROP TABLE rankings; --</script>'


def inputs(picture_path: Callable[[str], Path | None], queries: int = 12) -> ReportInputs:
    evaluations, metrics, rankings, retrieved = [], [], [], []
    for place, method in enumerate(METHODS):
        evaluations.append(
            {
                "evaluation_id": method,
                "dataset": "shop",
                "backbone": "tiny",
                "recipe": "quick",
                "method": method,
                "split": "val",
                "protocol": "fashioniq",
                "queries": queries,
                "gallery_size": 30,
                "created_at": datetime(2026, 1, 2),
            }
        )
        for metric, k in (("recall", 10), ("recall", 50), ("headline", 0)):
            value = 10.0 * place + k / 10
            metrics.append(
                {
                    "evaluation_id": method,
                    "category": "mean",
                    "metric": metric,
                    "k": k,
                    "value": value,
                    "ci_low": value - 2,
                    "ci_high": value + 2,
                }
            )
        for query in range(queries):
            rankings.append(
                {
                    "evaluation_id": method,
                    "query_id": f"q{query}",
                    "category": "dress",
                    "reference": "p0",
                    "caption": NASTY if query == 0 else f"caption {query}",
                    "target": f"p{query % 30}",
                    "target_rank": query + 1,
                    "target_score": 0.5,
                    "text_weight": query / 20,
                }
            )
            retrieved += [
                {
                    "evaluation_id": method,
                    "query_id": f"q{query}",
                    "rank": rank,
                    "image": f"p{(query + rank - 1) % 30}",
                    "score": 1 - rank / 100,
                }
                for rank in range(1, 31)
            ]
    epochs = [
        {
            "stage": stage,
            "version": "v",
            "epoch": epoch,
            "loss": 3.0 / epoch,
            "selection_metric": 10.0 * epoch,
        }
        for stage in ("text_encoder", "combiner")
        for epoch in (1, 2, 3)
    ]
    return ReportInputs(
        dataset="shop",
        backbone="tiny",
        recipe="quick",
        evaluations=pl.DataFrame(evaluations),
        metrics=pl.DataFrame(metrics),
        rankings=pl.DataFrame(rankings),
        retrieved=pl.DataFrame(retrieved),
        training_epochs=pl.DataFrame(epochs),
        picture_path=picture_path,
    )


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[[str], Path | None]:
    for number in range(29):
        Image.new("RGB", (60, 80), (number * 8, 90, 120)).save(tmp_path / f"p{number}.png")
    (tmp_path / "p28.png").write_text("no picture")
    return lambda image: tmp_path / f"{image}.png" if image != "p29" else None


def test_the_page_refers_to_nothing_outside_itself_and_equal_inputs_give_equal_bytes(
    pictures: Callable[[str], Path | None], tmp_path: Path
) -> None:
    page = write_report(inputs(pictures), tmp_path / "report")
    text = page.read_text()
    assert addresses_asked_for(text) == []
    assert write_report(inputs(pictures), tmp_path / "again").read_text() == text
    assert page.stat().st_size < 8_000_000


def test_text_full_of_markup_is_shown_as_text(pictures: Callable[[str], Path | None], tmp_path: Path) -> None:
    text = write_report(inputs(pictures), tmp_path / "report").read_text()
    assert "<img src=http" not in text
    assert "&lt;img src=http://evil.example/x onerror=alert(1)&gt;" in text


def test_addresses_that_a_browser_would_fetch_are_found() -> None:
    assert addresses_asked_for(
        '<img src="http://a/b.png"><link href=//c.css><script src="d.js"></script>'
    ) == [
        "http://a/b.png",
        "//c.css",
        "d.js",
    ]
    assert addresses_asked_for("<style>.a{background:url(http://e/f)}</style><a href='#top'>") == [
        "http://e/f"
    ]


def test_the_ladder_is_told_with_its_intervals(pictures: Callable[[str], Path | None]) -> None:
    given = inputs(pictures)
    table = ladder_markdown(given.evaluations, given.metrics)
    assert table.index("Image only") < table.index("Tuned text + sum") < table.index("Combiner, frozen CLIP")
    assert "48.0" in table
    assert "52.0" in table


def test_an_evaluation_without_queries_gives_a_message(
    pictures: Callable[[str], Path | None], tmp_path: Path
) -> None:
    given = inputs(pictures)
    empty = ReportInputs(
        **{
            **{name: getattr(given, name) for name in ("dataset", "backbone", "recipe", "picture_path")},
            "evaluations": given.evaluations.clear(),
            "metrics": given.metrics.clear(),
            "rankings": given.rankings.clear(),
            "retrieved": given.retrieved.clear(),
            "training_epochs": given.training_epochs.clear(),
        }
    )
    text = write_report(empty, tmp_path / "report").read_text()
    assert "This pipeline was not evaluated yet, so there is no figure to show" in text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium")
def test_a_browser_draws_every_chart_without_a_request_or_an_error(
    pictures: Callable[[str], Path | None], tmp_path: Path
) -> None:
    from playwright.sync_api import expect, sync_playwright

    page_file = write_report(inputs(pictures), tmp_path / "report")
    asked: list[str] = []
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.goto(page_file.as_uri())
        # Charts are drawn when they come into view.
        for _ in range(12):
            page.mouse.wheel(0, 700)
            page.wait_for_timeout(150)
        expect(page.locator(".main-svg").first).to_be_attached()
        assert page.locator(".main-svg").count() >= 5
        shown = page.locator("body").inner_text()
        assert NASTY in shown or "DROP TABLE rankings" in shown
        browser.close()
    assert errors == []
    assert [address for address in asked if not address.startswith(("file:", "data:", "blob:"))] == []
