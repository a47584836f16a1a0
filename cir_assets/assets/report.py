"""``…/<recipe>/report``: the page people look at, with retrieval sheets in pictures."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from cir_assets.assets.pipeline import Pipeline
from cir_assets.assets.step import Made, Step, content_versions, make_or_reuse
from cir_assets.assets.tables import read_table
from cir_assets.automation import on_upstream_change
from cir_assets.checks import Check
from cir_assets.resources import Storage
from cir_assets.store.ledger import digest_file

if TYPE_CHECKING:
    from cir_assets.reporting.inputs import ReportInputs

GENERATION = 4
SHEET_TITLE = "best, median and worst queries"
"""What a reader hears of the contact sheet who does not see it."""


def report_asset(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The report of one pipeline."""
    graph = pipeline.graph
    step = Step(pipeline.key("report"), GENERATION)

    @dg.asset(
        key=step.key,
        deps=[pipeline.key("evaluation"), graph.key("images")],
        group_name=graph.dataset,
        kinds={"html", "plotly"},
        owners=list(graph.owners),
        code_version=step.code_version,
        automation_condition=on_upstream_change(),
        check_specs=[
            dg.AssetCheckSpec(
                "self_contained", asset=step.key, description="The page asks nothing of the net."
            )
        ],
        description=(
            "One self-contained page: the ladder of methods as table and chart with intervals, training curves, "
            "the distribution of lambda, recall at k, retrieval sheets of the best, the median and the worst queries, "
            "and every query to be filtered and opened in pictures, method by method. "
            f"`storage/reports/{'/'.join(pipeline.place)}/index.html`."
        ),
    )
    def report(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        versions = content_versions(storage, pipeline.name("evaluation"), graph.name("images"))
        return make_or_reuse(context, storage, step, versions, lambda _: write(storage, pipeline))

    return report


def write(storage: Storage, pipeline: Pipeline) -> Made:
    """Write a pipeline's report and contact sheet from its results file."""
    from PIL import Image

    from cir_assets.reporting.pictures import as_markdown, write_contact_sheet
    from cir_assets.reporting.report import PICTURES, write_report

    inputs = report_inputs(storage, pipeline)
    folder = storage.report(*pipeline.place)
    page = write_report(inputs, folder)
    sheet = write_contact_sheet(inputs, folder / "contact_sheet.png")
    with Image.open(sheet) as drawn:
        shown = as_markdown(drawn, SHEET_TITLE)
    outside = addresses_asked_for(page.read_text(encoding="utf-8"))
    beside = sum(file.stat().st_size for file in folder.rglob("*.jpg"))
    return Made(
        data_version=digest_file(page),
        metadata={
            "report": {"url": page.as_uri()},
            "folder": {"path": str(folder)},
            "megabytes": round(page.stat().st_size / 1e6, 2),
            "megabytes_of_pictures_beside": round(beside / 1e6, 2),
            "contact_sheet": {"path": str(sheet)},
            "sheet": {"markdown": shown},
        },
        checks={
            "self_contained": Check(
                not outside,
                f"{page.name} has {page.stat().st_size / 1e6:.1f} MB and asks for "
                f"{', '.join(outside) or 'nothing outside itself'}",
            )
        },
        files=[page, sheet, folder / PICTURES],
    )


def report_inputs(storage: Storage, pipeline: Pipeline) -> "ReportInputs":
    """What a pipeline's report and contact sheet are made of: its results file and a way to its pictures."""
    from cir_assets.reporting.inputs import ReportInputs
    from cir_assets.store.database import opened

    graph = pipeline.graph
    dataset, backbone, recipe = pipeline.place
    with opened(storage.results(*pipeline.place), read_only=True) as connection:

        def table(name: str) -> pl.DataFrame:
            return pl.DataFrame(connection.sql(f"SELECT * FROM {name}").to_arrow_table())

        evaluations, metrics, rankings, retrieved, training_epochs = map(
            table, ("evaluations", "metrics", "rankings", "retrieved", "training_epochs")
        )
    tables = storage.tables(dataset)
    paths = dict(read_table(tables, "images").select("image", "path").iter_rows())
    root = graph.source.picture_root(storage.raw(dataset))

    def picture_path(image: str) -> Path | None:
        return root / paths[image] if image in paths else None

    return ReportInputs(
        dataset=dataset,
        backbone=backbone,
        recipe=recipe,
        evaluations=evaluations,
        metrics=metrics,
        rankings=rankings,
        retrieved=retrieved,
        training_epochs=training_epochs,
        picture_path=picture_path,
        galleries=read_table(tables, "galleries"),
        sheet_protocol=graph.protocols[0],
        pixel_limit=graph.pixel_limit,
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
