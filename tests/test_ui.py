"""The web UI, started headless and looked at by a real browser."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from PIL import Image

from cir_assets.reporting.pictures import as_markdown
from tests.trial_project import TrialProject

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def address(project: TrialProject) -> Iterator[str]:
    """The web server over a project with one wardrobe pipeline."""
    project.write_dataset("wardrobe", source={"kind": "wardrobe", "size": 1000}, recipes={"paper": {}})
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [
            *(str(Path(sys.executable).with_name("dagster-webserver")), "-h", "127.0.0.1", "-p", str(port)),
            *("-m", f"{project.package}.definitions"),
        ],
        cwd=project.folder,
        env={**os.environ, "DAGSTER_HOME": str(project.storage.root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"{address}/server_info", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, "the web server ended at once"
                assert time.monotonic() < deadline, "the web server did not answer in 90 s"
                time.sleep(0.3)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def report_with_a_sheet(project: TrialProject) -> None:
    """Record a report as the step itself does, its contact sheet within the metadata."""
    sheet = project.folder / "sheet.png"
    Image.new("RGB", (640, 200), "teal").save(sheet)
    with dg.DagsterInstance.from_config(str(project.storage.root)) as instance:
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                ["wardrobe", "tiny_clip", "paper", "report"],
                metadata={"sheet": dg.MetadataValue.md(as_markdown(sheet, "best, median and worst queries"))},
            )
        )


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium")
@pytest.mark.timeout(240)
def test_the_graph_is_shown_by_a_browser_with_every_step_of_a_pipeline_and_its_sheet(
    address: str, project: TrialProject
) -> None:
    from playwright.sync_api import expect, sync_playwright

    report_with_a_sheet(project)
    location = f"{project.package}.definitions"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
        )
        page = browser.new_page(viewport={"width": 1800, "height": 1200})
        page.goto(f"{address}/locations/{location}/asset-groups/wardrobe", wait_until="commit")
        for step in ("raw", "images", "triplets", "text_encoder", "combiner", "evaluation", "report"):
            expect(page.get_by_text(step, exact=True).first).to_be_visible(timeout=60_000)
        page.goto(f"{address}/assets/wardrobe/triplets?view=overview", wait_until="commit")
        expect(page.get_by_text("One row a triplet whose pictures are all there").first).to_be_visible(
            timeout=60_000
        )
        page.goto(f"{address}/assets/wardrobe/tiny_clip/paper/report?view=overview", wait_until="commit")
        page.get_by_text("[Show Markdown]").first.click(timeout=60_000)
        sheet = page.get_by_alt_text("best, median and worst queries").first
        expect(sheet).to_be_visible(timeout=60_000)
        assert sheet.evaluate("picture => picture.naturalWidth") == 640
        browser.close()
