"""``…/<recipe>/report``: the page people look at, with retrieval sheets in pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cir_assets.pipeline.checks import SELF_CONTAINED
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.step import Plan, Step, Work
from cir_assets.store.digests import digest_file
from cir_assets.store.made import Made, versions_of
from cir_assets.store.tables import read_table

if TYPE_CHECKING:
    from cir_assets.reporting.inputs import ReportInputs

SHEET_TITLE = "best, median and worst queries"
"""What a reader hears of the contact sheet who does not see it."""

SHOWN = ("evaluations", "metrics", "rankings", "retrieved", "training_epochs")
"""Tables of a pipeline's results that its report shows."""


def report_step(pipeline: Pipeline) -> Step:
    """The report of one pipeline."""

    def plan(work: Work) -> Plan:
        versions = versions_of(work.storage, pipeline.name("evaluation"), pipeline.data.name("images"))
        return Plan(versions, lambda _: make_report(work, pipeline))

    return Step(pipeline.name("report"), 4, plan)


def make_report(work: Work, pipeline: Pipeline) -> Made:
    """Write a pipeline's report and contact sheet from its results file."""
    from PIL import Image

    from cir_assets.reporting.pictures import as_markdown, write_contact_sheet
    from cir_assets.reporting.report import PICTURES, write_report

    inputs = report_inputs(work, pipeline, results_of(work, pipeline))
    folder = work.storage.report(*pipeline.place)
    page = write_report(inputs, folder)
    sheet = write_contact_sheet(inputs, folder / "contact_sheet.png")
    with Image.open(sheet) as drawn:
        sheet_markdown = as_markdown(drawn, SHEET_TITLE)
    outside = addresses_asked_for(page.read_text(encoding="utf-8"))
    beside = sum(file.stat().st_size for file in folder.rglob("*.jpg"))
    return Made(
        data_version=digest_file(page),
        metadata={
            "report": {"page": str(page.relative_to(work.storage.root))},
            "folder": {"path": str(folder)},
            "megabytes": round(page.stat().st_size / 1e6, 2),
            "megabytes_of_pictures_beside": round(beside / 1e6, 2),
            "contact_sheet": {"path": str(sheet)},
            "sheet": {"markdown": sheet_markdown},
        },
        checks=SELF_CONTAINED(page.name, page.stat().st_size, outside),
        files=[page, sheet, folder / PICTURES],
    )


def results_of(work: Work, pipeline: Pipeline) -> dict[str, pl.DataFrame]:
    """A pipeline's results as its report shows them, every table whole."""
    from cir_assets.store.database import opened

    with opened(work.storage.results(*pipeline.place), read_only=True) as connection:
        return {
            table: pl.DataFrame(connection.sql(f"SELECT * FROM {table}").to_arrow_table()) for table in SHOWN
        }


def report_inputs(work: Work, pipeline: Pipeline, results: Mapping[str, pl.DataFrame]) -> ReportInputs:
    """What a pipeline's report and contact sheet are made of: its ``results`` and a way to its pictures."""
    from cir_assets.reporting.inputs import ReportInputs

    data = pipeline.data
    dataset, backbone, recipe = pipeline.place
    tables = work.storage.tables(dataset)
    paths = dict(read_table(tables, "images").select("image", "path").iter_rows())
    root = data.source.picture_root(work.storage.raw(dataset))

    def picture_path(image: str) -> Path | None:
        return root / paths[image] if image in paths else None

    return ReportInputs(
        dataset=dataset,
        backbone=backbone,
        recipe=recipe,
        picture_path=picture_path,
        galleries=read_table(tables, "galleries"),
        sheet_protocol=data.protocols[0],
        pixel_limit=data.pixel_limit,
        evaluations=results["evaluations"],
        metrics=results["metrics"],
        rankings=results["rankings"],
        retrieved=results["retrieved"],
        training_epochs=results["training_epochs"],
    )


def addresses_asked_for(page: str) -> list[str]:
    """Addresses a browser would fetch for a page: what its elements and style sheets refer to.

    What stands inside a script, or as text, is no request.
    """
    reader = _Addresses()
    reader.feed(page)
    return [address for address in reader.found if not address.startswith(("#", "data:"))]


class _Addresses(HTMLParser):
    """Collects what elements refer to by src and href, and style sheets by url()."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        self.found += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.found += re.findall(r"""url\(["']?([^"')]+)""", data)
