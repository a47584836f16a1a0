"""What is looked at beside the search: one page to begin with, reports as their links name them, docs as pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient

from cir_assets.serving.app import search_app
from cir_assets.serving.champions import Champions
from cir_assets.serving.start import document_page, documents


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A storage folder with a report, a leaderboard and a database, and nothing to search."""
    report = tmp_path / "reports" / "shop" / "tiny_clip" / "quick"
    (report / "pictures").mkdir(parents=True)
    (report / "index.html").write_text("<title>the report</title>")
    (report / "pictures" / "a.jpg").write_bytes(b"jpeg")
    (tmp_path / "reports" / "index.html").write_text("<title>the leaderboard</title>")
    (tmp_path / "reports" / "notes.duckdb").write_text("no page")
    (tmp_path / "evaluation.duckdb").write_text("no page")
    (tmp_path / "ledger" / "shop" / "raw").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def client(storage: Path) -> Iterator[TestClient]:
    with TestClient(search_app(Champions(storage, may_be_empty=True)), base_url="http://localhost") as client:
        yield client


def test_where_nothing_can_be_searched_yet_one_begins_at_the_start_page(client: TestClient) -> None:
    first = client.get("/")
    assert first.url.path == "/start"
    assert "Nothing can be searched yet" in first.text
    assert "shop · tiny_clip · quick" in first.text
    assert "/asset-groups~key%3A%22shop%2F%2A%22" in first.text


@pytest.mark.parametrize(
    ("link", "title"),
    [
        ("reports/", "the leaderboard"),
        ("reports", "the leaderboard"),
        ("reports/shop/tiny_clip/quick/index.html", "the report"),
        ("reports/shop/tiny_clip/quick/", "the report"),
        ("reports/shop/tiny_clip/quick", "the report"),
    ],
)
def test_a_report_opens_with_its_pictures_and_its_own_scripts(
    client: TestClient, link: str, title: str
) -> None:
    page = client.get(f"/{link}")
    assert title in page.text
    assert "script-src 'unsafe-inline'" in page.headers["content-security-policy"]
    if title == "the report":
        assert client.get(urljoin(str(page.url), "pictures/a.jpg")).content == b"jpeg"


@pytest.mark.parametrize(
    "path",
    [
        "reports/notes.duckdb",
        "reports/%2e%2e/evaluation.duckdb",
        "reports/..%2fevaluation.duckdb",
        "reports/shop",
        "reports/%00",
        "docs/%2e%2e%2fpyproject.toml",
        "docs/nowhere.md",
    ],
)
def test_nothing_else_is_given_away(client: TestClient, path: str) -> None:
    assert client.get(f"/{path}").status_code == 404


def test_the_docs_are_pages_whose_headings_can_be_linked_to(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.url.path == "/docs/your-own-catalogue.md"
    assert '<h1 id="your-own-catalogue">' in page.text
    names = [name for name, _ in documents()]
    assert {"glossary.md", "search.md"} <= set(names)
    assert all(f'<a href="{name}">' in page.text for name in names)
    assert client.get("/docs/graph.png").headers["content-type"] == "image/png"


def test_markup_in_a_document_is_text(tmp_path: Path) -> None:
    file = tmp_path / "odd.md"
    file.write_text("# Odd\n\n<script>alert(1)</script>\n")
    assert "<script>" not in document_page(file)
