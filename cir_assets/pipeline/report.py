"""``…/<recipe>/report``: the page people look at, with retrieval sheets in pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cir_assets.models.stages import COMBINER, LABELS, TEXT_ENCODER
from cir_assets.pipeline.cards import write_cards
from cir_assets.pipeline.checks import SELF_CONTAINED
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.step import Plan, Step, Work
from cir_assets.retrieval.protocols import named_as_today
from cir_assets.store.contracts import GALLERIES, IMAGES
from cir_assets.store.digests import digest_file
from cir_assets.store.ledger import Ledger
from cir_assets.store.made import Made, versions_of
from cir_assets.store.promotions import PromotionLog
from cir_assets.store.tables import read_table
from cir_assets.training.settings import Recipe

if TYPE_CHECKING:
    from cir_assets.reporting.inputs import ReportInputs

SHEET_TITLE = "best, median and worst queries"
"""What a reader hears of the contact sheet who does not see it."""

SHOWN = ("evaluations", "metrics", "rankings", "retrieved", "training_epochs")
"""Tables of a pipeline's results that its report shows."""


def report_step(pipeline: Pipeline) -> Step:
    """The report of one pipeline."""

    def plan(work: Work) -> Plan:
        champion = PromotionLog(work.storage.promotions(*pipeline.place)).reign()
        versions = versions_of(work.storage, *shown_steps(pipeline))
        versions["champion"] = champion.digest if champion else "none"
        beside = [work.storage.answers(*pipeline.place), *published_beside(work)]
        outside = {
            str(file.relative_to(work.storage.root)): digest_file(file) for file in beside if file.is_file()
        }
        return Plan({**versions, **outside}, lambda _: make_report(work, pipeline))

    return Step(pipeline.name("report"), 8, plan)


def shown_steps(pipeline: Pipeline) -> list[str]:
    """The steps a report shows the outcome of: whoever judged, and whatever other systems ranked."""
    return [
        pipeline.name("evaluation"),
        pipeline.name("challenger"),
        pipeline.data.name("images"),
        *(brought.name("evaluation") for brought in pipeline.data.brought),
    ]


def make_report(work: Work, pipeline: Pipeline) -> Made:
    """Write a pipeline's report and contact sheet from its results file, and its models' cards."""
    from PIL import Image

    from cir_assets.reporting.pictures import as_markdown, write_contact_sheet
    from cir_assets.reporting.report import PICTURES, write_report

    results = results_of(work, pipeline)
    cards = write_cards(work, pipeline, results)
    inputs = report_inputs(work, pipeline, results, told=True)
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
        files=[page, sheet, folder / PICTURES, *cards],
    )


def results_of(work: Work, pipeline: Pipeline) -> dict[str, pl.DataFrame]:
    """A pipeline's results as its report shows them, every table whole.

    With them stands what a test server answered, and what rankings brought from elsewhere came to.
    """
    answers = work.storage.answers(*pipeline.place)
    every = [_tables(work.storage.results(*pipeline.place))]
    every += [_tables(answers)] if answers.is_file() else []
    for brought in pipeline.data.brought:
        tables = _tables(work.storage.results(*brought.place))
        # They stand in the ladder of each pipeline of the data set.
        dataset, backbone, recipe = pipeline.place
        tables["evaluations"] = tables["evaluations"].with_columns(
            dataset=pl.lit(dataset), backbone=pl.lit(backbone), recipe=pl.lit(recipe)
        )
        every.append(tables)
    return {table: pl.concat([each[table] for each in every], how="diagonal_relaxed") for table in SHOWN}


def _tables(results: Path) -> dict[str, pl.DataFrame]:
    from cir_assets.store.database import open_database

    with open_database(results, read_only=True) as connection:
        tables = {
            table: pl.DataFrame(connection.sql(f"SELECT * FROM {table}").to_arrow_table()) for table in SHOWN
        }
    return {**tables, "evaluations": named_as_today(tables["evaluations"])}


def published_beside(work: Work) -> list[Path]:
    """People's own files of figures others published."""
    return sorted(work.storage.published_figures.glob("*.csv"))


def provenance(work: Work, pipeline: Pipeline, evaluations: pl.DataFrame) -> dict[str, dict[str, str]]:
    """What a person needs to make it again: settings, versions, runs, and who serves."""
    storage = work.storage
    said: dict[str, dict[str, str]] = {}
    recipe, ledger = pipeline.recipe, Ledger(storage.ledger)
    for stage in (TEXT_ENCODER, COMBINER) if isinstance(recipe, Recipe) else ():
        # What was chosen from the data stands with the model.
        trained = ledger.latest(pipeline.name(stage))
        chosen = trained.detail["metadata"].get("chosen", {}) if trained is not None else {}
        settings = getattr(recipe, stage).model_dump(mode="json") | chosen
        said[LABELS[stage]] = {name.replace("_", " "): str(value) for name, value in settings.items()}
    dataset, backbone, name = pipeline.place
    log = PromotionLog(storage.promotions(*pipeline.place))
    verdict, champion = ledger.latest(pipeline.name("challenger")), log.reign()
    newest = verdict.detail["metadata"]["challenger"] if verdict is not None else None
    judged = log.rows().filter(challenger=newest)
    said["Champion"] = {
        "these models": "are the champion, which search reads"
        if champion is not None and champion.digest == newest
        else "are not the champion",
        **(
            {
                "decided": f"{judged['decided_at'][-1]:%Y-%m-%d %H:%M} UTC, {judged['decision'][-1]}",
                "because": judged["reason"][-1],
            }
            if judged.height
            else {}
        ),
    }
    versions = {
        step: entry.data_version
        for step in (pipeline.data.name("raw"), *pipeline.ranked_from())
        if (entry := ledger.latest(step)) is not None
    }
    own = evaluations.filter(
        pl.col("served_because").is_not_null(), split="val", protocol=pipeline.data.protocols[0]
    ).sort("created_at", "evaluation_id")
    said["Versions"] = {
        **versions,
        "evaluation": own["evaluation_id"][-1] if own.height else "none on val",
        **({"Dagster run": own["run_id"][-1]} if own.height and own["run_id"][-1] else {}),
        "code": version("cir_assets"),
    }
    said["Make it again"] = {
        "command": f"cir-assets demo --dataset {dataset} --recipe {name}",
        "step": f"{dataset}/{backbone}/{name}/report",
    }
    return said


def report_inputs(
    work: Work, pipeline: Pipeline, results: Mapping[str, pl.DataFrame], *, told: bool = False
) -> ReportInputs:
    """What a pipeline's report and contact sheet are made of: its ``results`` and a way to its pictures.

    Args:
        work: where all lies.
        pipeline: whose.
        results: its tables.
        told: with what made them, which a sheet does not show.
    """
    from cir_assets.reporting.inputs import ReportInputs
    from cir_assets.retrieval.reported_figures import figures_of_others

    data = pipeline.data
    dataset, backbone, recipe = pipeline.place
    tables = work.storage.tables(dataset)
    paths = dict(read_table(tables, IMAGES).select("image", "path").iter_rows())
    root = data.source.picture_root(work.storage.raw(dataset))

    def picture_path(image: str) -> Path | None:
        return root / paths[image] if image in paths else None

    return ReportInputs(
        dataset=dataset,
        backbone=backbone,
        recipe=recipe,
        picture_path=picture_path,
        galleries=read_table(tables, GALLERIES),
        sheet_protocol=data.protocols[0],
        pixel_limit=data.pixel_limit,
        evaluations=results["evaluations"],
        metrics=results["metrics"],
        rankings=results["rankings"],
        retrieved=results["retrieved"],
        training_epochs=results["training_epochs"],
        provenance=provenance(work, pipeline, results["evaluations"]) if told else {},
        neighbours=[place for place in data.reported if place != (backbone, recipe)],
        published=figures_of_others(published_beside(work))[0],
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
        # A link is followed when a person asks.
        self.found += [value for name, value in attrs if name in ("src", "href") and value and tag != "a"]

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.found += re.findall(r"""url\(["']?([^"')]+)""", data)
