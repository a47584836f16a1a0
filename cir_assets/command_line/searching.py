"""``search``: from a reference and words to the pictures meant, by a server that runs or by the models here."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cir_assets.command_line.materializing import require_storage
from cir_assets.command_line.names import dataset_option
from cir_assets.command_line.output import Form, form_options, print_rows, say, terminal

ANSWERS_WITHIN = 0.5
"""Seconds in which a server of this machine says what it serves."""


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        title: the pipeline and its method.
        rows: rank, score, picture, category and file of each, best first.
        summary: how many pictures were compared, in what time.
        shown: the reference's file.
        pixel_limit: pictures of more pixels are not drawn.
    """

    title: str
    rows: Sequence[dict[str, Any]]
    summary: str
    shown: Path
    pixel_limit: int


@click.command()
@dataset_option("Data set to search.")
@click.option("--pipeline", help="backbone/recipe; by default that with the best headline on val.")
@click.option(
    "--image", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Reference: a picture file."
)
@click.option("--reference", help="Reference: id of a picture of the data set.")
@click.option("--text", required=True, help="What should differ.")
@click.option("--top", default=10, show_default=True, type=click.IntRange(1, 200), help="How many pictures.")
@click.option("--category", help="Only pictures of this category.")
@click.option(
    "--pull",
    default=0.0,
    type=click.FloatRange(-1, 1),
    help="-1 listens to the picture alone, 1 to the text alone.",
)
@click.option("--copies", is_flag=True, help="Also exact copies, of the reference and of what is found.")
@click.option(
    "--contact-sheet", type=click.Path(dir_okay=False, path_type=Path), help="Write what was found as PNG."
)
@click.option(
    "--server",
    default="http://127.0.0.1:8765",
    show_default=True,
    help="A running server that is asked first; where none answers, the models are loaded here.",
)
@form_options
def search(
    dataset: str,
    pipeline: str | None,
    image: Path | None,
    reference: str | None,
    text: str,
    top: int,
    category: str | None,
    pull: float,
    copies: bool,
    contact_sheet: Path | None,
    server: str,
    form: Form,
) -> None:
    """Find the pictures most like a reference with a change applied, by the data set's champion.

    Give the reference as a file (--image) or as a picture of the data set (--reference).
    """
    require_storage()
    if (image is None) == (reference is None):
        raise click.UsageError("give the reference either by --image or by --reference")
    options = {"top": top, "category": category, "pull": pull, "copies": copies}
    given = image if image is not None else str(reference)
    found = asked_of_a_server(server, dataset, pipeline, given, text, options)
    if found is None:
        found = searched_here(dataset, pipeline, given, text, options)
    if form is None:
        show_found(found)
    else:
        print_rows(found.rows, form)
    if contact_sheet is not None:
        from cir_assets.serving.sheet import write_sheet

        answered = [(each["picture"], Path(each["file"]), each["score"]) for each in found.rows]
        try:
            write_sheet(contact_sheet, found.shown, text, answered, found.pixel_limit)
        except OSError as error:
            raise click.ClickException(f"the contact sheet cannot be written: {error}") from error
        click.echo(f"contact sheet: {contact_sheet}", err=form is not None)


def show_found(found: Found) -> None:
    """Print what was found as a table."""
    from rich import box
    from rich.table import Table

    table = Table(title=found.title, box=box.SIMPLE_HEAD)
    for column in ("rank", "score", "picture", "category", "file"):
        # A path is of use only as a whole.
        table.add_column(
            column,
            justify="right" if column in ("rank", "score") else "left",
            no_wrap=column != "file",
            overflow="fold",
        )
    for each in found.rows:
        table.add_row(
            str(each["rank"]), f"{each['score']:.3f}", each["picture"], each["category"] or "", each["file"]
        )
    console = terminal(200)
    console.print(table)
    console.print(found.summary)


def asked_of_a_server(
    address: str, dataset: str, pipeline: str | None, given: Path | str, text: str, options: dict[str, Any]
) -> Found | None:
    """What a running server finds; None where none answers, or it serves other models than those exported here."""
    import requests

    from cir_assets.client import Search, SearchRefused
    from cir_assets.serving.export import BrokenExport, NothingExported, current, read_about
    from cir_assets.store.layout import Storage

    client = Search(address, timeout=ANSWERS_WITHIN)
    with suppress(
        requests.RequestException, SearchRefused, NothingExported, BrokenExport, KeyError, ValueError
    ):
        wanted = next(
            each
            for each in client.datasets()
            if each["dataset"] == dataset and pipeline in (None, each["pipeline"])
        )
        version = current(Storage().searches / dataset / wanted["pipeline"])
        about = read_about(version)
        if about.champion != wanted["champion"]:
            return None
        client.timeout = 60.0
        answer = client.answer(dataset, given, text, pipeline=wanted["pipeline"], **options)
        return _found(
            version,
            f"{dataset}/{wanted['pipeline']}, {about.method}",
            answer["results"],
            given,
            f"{answer['searched']:,} pictures in {1000 * answer['seconds']:.0f} ms, asked of {address}",
            answer["text_weight"],
        )
    return None


def searched_here(
    dataset: str, pipeline: str | None, given: Path | str, text: str, options: dict[str, Any]
) -> Found:
    """What the champion's models find, loaded for this one search.

    Raises:
        click.ClickException: when there is nothing to search, or it cannot be searched so.
    """
    say("loading models … (a running server, make search, answers at once)")
    from cir_assets.serving.champions import Champions
    from cir_assets.serving.export import NothingExported
    from cir_assets.serving.uploads import RefusedInput, UnknownPicture
    from cir_assets.store.layout import Storage

    try:
        searcher = Champions(Storage().root, dataset=dataset).of(dataset, pipeline)
        reference = searcher.add_upload(given.read_bytes()) if isinstance(given, Path) else given
        answer = searcher.search(reference, text, **options)
        results = [
            {"rank": rank, "image": image, "score": score, "category": searcher.category(image)}
            for rank, (image, score) in enumerate(zip(answer.images, answer.scores, strict=True), 1)
        ]
        summary = f"{answer.searched:,} pictures in {1000 * answer.seconds:.0f} ms"
        version = Storage().searches / searcher.name / searcher.version
        title = f"{searcher.name}, {searcher.about.method}"
        return _found(version, title, results, given, summary, answer.text_weight)
    except (NothingExported, RefusedInput, UnknownPicture, OSError) as error:
        raise click.ClickException(str(error)) from error


def _found(
    version: Path,
    title: str,
    results: Sequence[dict[str, Any]],
    given: Path | str,
    summary: str,
    weight: float | None,
) -> Found:
    """What was found with the file of each picture, as an export's table of pictures names it."""
    import polars as pl

    from cir_assets.serving.export import read_about
    from cir_assets.store.contracts import SEARCHED_PICTURES
    from cir_assets.store.layout import Storage
    from cir_assets.store.tables import table_file

    about = read_about(version)
    root = Storage().root / about.picture_root
    wanted = [each["image"] for each in results] + ([given] if isinstance(given, str) else [])
    pictures = pl.scan_parquet(table_file(version, SEARCHED_PICTURES)).filter(pl.col("image").is_in(wanted))
    paths = dict(pictures.select("image", "path").collect().iter_rows())
    rows = [
        {
            "rank": each["rank"],
            "score": each["score"],
            "picture": each["image"],
            "category": each["category"],
            "file": str(root / paths[each["image"]]),
        }
        for each in results
    ]
    told = summary if weight is None else f"{summary}, lambda {weight:.2f}"
    return Found(
        title, rows, told, given if isinstance(given, Path) else root / paths[given], about.pixel_limit
    )
