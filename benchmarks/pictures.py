"""The pictures of README and docs, taken anew of what runs: ``make ui`` in one terminal, then in another

``python -m benchmarks.pictures``. It looks at the start page, a data set's graph, its report's retrieval sheets and a
search by the page's first example, and writes start.png, graph.png, sheets.png and search.png.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from urllib.parse import quote, urlencode

from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).parents[1] / "docs"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SIZE = (1440, 900)
PATIENCE = 180_000.0
"""Milliseconds; a busy machine draws slowly."""


def take(page: Page, *, graph: str, served: str, pipeline: str, out: Path) -> None:
    """Take every picture, each once what it shows has come."""
    dataset = pipeline.split("/")[0]
    page.goto(f"{served}/start")
    page.screenshot(path=out / "start.png")

    selection = quote(f'key:"{dataset}/*" or key:"leaderboard"', safe="")
    page.goto(f"{graph}/asset-groups~{selection}")
    page.get_by_text(dataset, exact=False).first.wait_for()
    # It moves into its place; nothing says when it stands.
    page.wait_for_timeout(15_000)
    page.screenshot(path=out / "graph.png")

    page.goto(f"{served}/reports/{pipeline}/")
    sheets = page.locator("#sheets")
    sheets.first.scroll_into_view_if_needed()
    page.wait_for_timeout(3_000)
    page.screenshot(path=out / "sheets.png")

    page.goto(f"{served}/?{urlencode({'dataset': dataset})}")
    page.locator("#examples button, #examples a").first.click()
    page.locator("#results img").first.wait_for()
    page.wait_for_timeout(3_000)
    page.screenshot(path=out / "search.png")


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument("--graph", default="http://127.0.0.1:3000", help="where Dagster's UI is served")
    parser.add_argument("--served", default="http://127.0.0.1:8765", help="where the start page is served")
    parser.add_argument("--pipeline", default="wardrobe/tiny_clip/small")
    parser.add_argument("--out", type=Path, default=DOCS)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.set_default_timeout(PATIENCE)
        take(page, graph=asked.graph, served=asked.served, pipeline=asked.pipeline, out=asked.out)
        browser.close()
    print(f"graph.png, sheets.png, start.png and search.png are in {asked.out}")


if __name__ == "__main__":
    main()
