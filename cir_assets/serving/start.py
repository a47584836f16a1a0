"""The start page, the reports and the docs: what one looks at beside the search, from the same server."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from urllib.parse import quote

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt

from cir_assets.serving.champions import Champions
from cir_assets.store.layout import Storage

PAGE = Path(__file__).parent / "page"
DOCS = Path(__file__).parents[2] / "docs"
"""Where this runs from a checkout; an installed package has none."""

FIRST_DOCS = ("your-own-catalogue.md", "glossary.md", "search.md", "retraining.md", "sql-cookbook.md")
"""What people look for first, in this order; the others follow by name."""

GRAPH = "CIR_ASSETS_GRAPH"
GRAPH_AT = "http://127.0.0.1:3000"
"""Where Dagster's UI is served; elsewhere as the environment says."""

SHOWN = {".html": "text/html", ".png": "image/png", ".jpg": "image/jpeg", ".json": "application/json"}
"""Endings of what lies among reports and docs and is shown; nothing else is given away."""

REPORT_HEADERS = {
    # Reports are one file each: their scripts and styles stand in them, and they ask nothing of the net.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
}

_pages = Environment(
    loader=FileSystemLoader(PAGE),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def add_pages(app: FastAPI, champions: Champions) -> None:
    """Have an application answer ``/start``, ``/reports/…`` and ``/docs/…`` besides."""
    reports = Storage(champions.root).reports

    @app.get("/start", include_in_schema=False)
    def start() -> HTMLResponse:
        return HTMLResponse(start_page(champions))

    @app.get("/start/style.css", include_in_schema=False)
    def style() -> FileResponse:
        return FileResponse(PAGE / "start.css")

    @app.get("/reports", include_in_schema=False)
    def leaderboard() -> RedirectResponse:
        return RedirectResponse("reports/")

    @app.get("/reports/{path:text}", include_in_schema=False)
    def report(path: str) -> Response:
        found = below(reports, path)
        if found is not None and found.is_dir():
            if path and not path.endswith("/"):
                return RedirectResponse(f"{quote(found.name)}/")
            found = below(found, "index.html")
        return shown(found, REPORT_HEADERS)

    @app.get("/docs", include_in_schema=False)
    def first_of_the_docs() -> RedirectResponse:
        return RedirectResponse(f"docs/{FIRST_DOCS[0]}")

    @app.get("/docs/{name}", include_in_schema=False)
    def document(name: str) -> Response:
        found = below(DOCS, name)
        if found is None or found.suffix != ".md" or not found.is_file():
            return shown(found, {})
        return HTMLResponse(document_page(found))


def start_page(champions: Champions) -> str:
    """The page to begin with: graph, search, leaderboard, reports and docs, as far as they are there."""
    reports = Storage(champions.root).reports
    found = sorted(reports.glob("*/*/*/index.html"), key=lambda file: file.stat().st_mtime, reverse=True)
    made = sorted({each.parent.name for each in Storage(champions.root).ledger.glob("*/raw*")})
    return _pages.get_template("start.html").render(
        graph=os.environ.get(GRAPH) or GRAPH_AT,
        searchers=champions.all(),
        leaderboard=(reports / "index.html").is_file(),
        reports=[file.parent.relative_to(reports).parts for file in found],
        docs=documents(),
        made=[(name, selected([name])) for name in made],
        first_view=selected(made),
    )


def selected(datasets: list[str]) -> str:
    """How an address of Dagster's graph says that only these data sets are shown; all where there are none."""
    wanted = " or ".join(f'key:"{name}/*"' for name in datasets)
    return f"~{quote(wanted, safe='')}" if wanted else ""


def documents() -> list[tuple[str, str]]:
    """Name and heading of each page of the docs, what people look for first before the others."""
    there = {file.name: file for file in sorted(DOCS.glob("*.md"))}
    names = [
        *(name for name in FIRST_DOCS if name in there),
        *(name for name in there if name not in FIRST_DOCS),
    ]
    return [(name, heading(there[name].read_text(encoding="utf-8"))) for name in names]


def heading(text: str) -> str:
    """The first heading of a Markdown page."""
    return next((line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")), "")


def document_page(file: Path) -> str:
    """A page of the docs as HTML; its headings can be linked to, and HTML in it is shown as text."""
    text = file.read_text(encoding="utf-8")
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    named = re.sub(r"<h([1-6])>(.*?)</h\1>", _with_anchor, body)
    return _pages.get_template("document.html").render(title=heading(text), body=named, docs=documents())


def _with_anchor(found: re.Match[str]) -> str:
    words = re.sub(r"[^\w\- ]", "", html.unescape(re.sub(r"<[^>]+>", "", found[2])).lower()).replace(" ", "-")
    return f'<h{found[1]} id="{html.escape(words)}">{found[2]}</h{found[1]}>'


def below(folder: Path, path: str) -> Path | None:
    """What lies at a path below a folder; None where that leads out of it, or is no name of a file."""
    try:
        found = (folder / path).resolve()
        return found if found.is_relative_to(folder.resolve()) and found.exists() else None
    except (OSError, ValueError):
        return None


def shown(file: Path | None, headers: dict[str, str]) -> Response:
    """A file as it is shown.

    Raises:
        HTTPException: when there is none, or none that is shown.
    """
    if file is None or not file.is_file() or file.suffix not in SHOWN:
        raise HTTPException(404)
    return FileResponse(file, media_type=SHOWN[file.suffix], headers=headers)
