"""``cir-assets``: the whole graph from a terminal, and what came out of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cir_assets.reporting.comparison import Comparison

PROJECT = Path(__file__).parent.parent


@click.group()
def main() -> None:
    """Composed image retrieval as a living graph of Dagster assets."""
    os.environ.setdefault("DAGSTER_HOME", str(Path.cwd() / "storage"))


@main.command()
@click.option("--dataset", default="wardrobe", show_default=True, help="Data set to materialize.")
@click.option("--recipe", default="small", show_default=True, help="Recipe to run; '*' runs every one.")
@click.option(
    "--module", default="cir_assets.definitions", show_default=True, help="Module with the definitions."
)
@click.option("--verbose", is_flag=True, help="Show Dagster's whole event log.")
def demo(dataset: str, recipe: str, module: str, verbose: bool) -> None:
    """Materialize one data set from its root to its report, and show the evaluation table and the report's path."""
    started = time.monotonic()
    materialize(f'+key:"{dataset}/*/{recipe}/report" or key:"leaderboard"', module, verbose=verbose)
    show_ladder(dataset)
    click.echo(f"{time.monotonic() - started:.0f} s in all")


def materialize(selection: str, module: str, *, verbose: bool = False) -> None:
    """Materialize a selection in one run, showing what goes on.

    Raises:
        click.ClickException: when the run failed; its last lines are shown before.
    """
    started = time.monotonic()
    command = [
        *(str(Path(sys.executable).with_name("dagster")), "asset", "materialize"),
        *("--select", selection, "-m", module),
    ]
    click.echo(f"$ dagster {' '.join(command[1:])}")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    kept: list[str] = []
    for line in process.stdout:
        kept.append(line)
        if verbose:
            click.echo(line, nl=False)
        elif (said := _worth_showing(line)) is not None:
            click.echo(f"{time.monotonic() - started:6.1f} s  {said}")
    if process.wait() != 0:
        click.echo("".join(kept[-40:]), err=True)
        raise click.ClickException("the run failed; its last lines stand above")


@main.command()
@click.option("--dataset", default="wardrobe", show_default=True, help="Data set whose pipelines are shown.")
def ladder(dataset: str) -> None:
    """Show the newest evaluation of every pipeline of a data set."""
    show_ladder(dataset)


@main.command()
@click.argument("first")
@click.argument("second")
@click.option("--split", default="val", show_default=True, type=click.Choice(["val", "test"]))
@click.option("--protocol", default="fashioniq", show_default=True, help="Evaluation protocol of both.")
@click.option("--shown", default=5, show_default=True, help="Queries shown that gained and lost most.")
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the comparison as a page, in pictures.",
)
def compare(first: str, second: str, split: str, protocol: str, shown: int, page: Path | None) -> None:
    """Compare two published evaluations by a paired bootstrap over their queries.

    Each is named dataset/backbone/recipe/method, as in wardrobe/tiny_clip/small/combiner. A difference is SECOND
    minus FIRST.
    """
    from cir_assets.reporting.comparison import NotComparable, compare_rankings, published_evaluation
    from cir_assets.reporting.comparison_page import write_comparison
    from cir_assets.resources import Storage
    from cir_assets.store.publishing import NotPublished, published

    try:
        with published(Storage().evaluation) as connection:
            before, after = (
                published_evaluation(connection, name, split, protocol) for name in (first, second)
            )
            paths = dict(
                connection.execute(
                    "SELECT image, path FROM images WHERE dataset = $1", [first.split("/")[0]]
                ).fetchall()
            )
        found = compare_rankings(before, after, protocol)
        show_comparison(first, second, found, shown)
        if page is not None:
            root = picture_folder(first.split("/")[0])
            write_comparison(
                page, (first, second), found, lambda image: root / paths[image] if image in paths else None
            )
            click.echo(f"page: {page}")
    except (NotComparable, NotPublished, ValueError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8765, show_default=True, help="Port to listen on.")
@click.option(
    "--prepare",
    default="wardrobe/tiny_clip/small",
    show_default=True,
    help="Pipeline that is materialized first where nothing can be searched yet.",
)
@click.option(
    "--module", default="cir_assets.definitions", show_default=True, help="Module with the definitions."
)
def serve(host: str, port: int, prepare: str, module: str) -> None:
    """Serve the search page and its API over every champion there is."""
    from cir_assets.resources import Storage
    from cir_assets.serving.export import NothingExported, every_export

    root = Storage().root
    if not every_export(root / "search"):
        click.echo(f"nothing can be searched yet: materializing {prepare} first")
        materialize(f'+key:"{prepare}/search" or key:"leaderboard"', module)
    import uvicorn

    from cir_assets.serving.app import search_app
    from cir_assets.serving.champions import Champions

    try:
        champions = Champions(root)
    except NothingExported as error:
        raise click.ClickException(str(error)) from error
    for searcher in champions.all():
        click.echo(f"{searcher.name}: {len(searcher):,} pictures, {searcher.about.method}")
    click.echo(f"search: http://{host}:{port}   API: http://{host}:{port}/openapi.json")
    # To other machines' names only those may answer who were told to listen to others.
    hosts = ["127.0.0.1", "localhost", "[::1]"] if host in ("127.0.0.1", "localhost", "::1") else None
    uvicorn.run(search_app(champions, hosts=hosts), host=host, port=port, log_level="warning")


@main.command()
@click.option("--dataset", default="wardrobe", show_default=True, help="Data set to search.")
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
@click.option(
    "--contact-sheet", type=click.Path(dir_okay=False, path_type=Path), help="Write what was found as PNG."
)
def search(
    dataset: str,
    pipeline: str | None,
    image: Path | None,
    reference: str | None,
    text: str,
    top: int,
    category: str | None,
    pull: float,
    contact_sheet: Path | None,
) -> None:
    """Find the pictures most like a reference with a change applied, by the data set's champion.

    Give the reference as a file (--image) or as a picture of the data set (--reference).
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from cir_assets.resources import Storage
    from cir_assets.serving.champions import Champions
    from cir_assets.serving.export import NothingExported
    from cir_assets.serving.searcher import RefusedInput, UnknownPicture
    from cir_assets.serving.sheet import write_sheet

    if (image is None) == (reference is None):
        raise click.UsageError("give the reference either by --image or by --reference")
    try:
        searcher = Champions(Storage().root, dataset=dataset).of(dataset, pipeline)
        name = searcher.add_upload(image.read_bytes()) if image is not None else str(reference)
        answer = searcher.search(name, text, top=top, category=category, pull=pull)
    except (NothingExported, RefusedInput, UnknownPicture) as error:
        raise click.ClickException(str(error)) from error
    table = Table(title=f"{searcher.name}, {searcher.about.method}", box=box.SIMPLE_HEAD)
    for column in ("rank", "score", "picture", "category", "file"):
        table.add_column(column, justify="right" if column in ("rank", "score") else "left", no_wrap=True)
    found = [
        (each, searcher.path(each), score) for each, score in zip(answer.images, answer.scores, strict=True)
    ]
    for rank, (each, path, score) in enumerate(found, 1):
        table.add_row(str(rank), f"{score:.3f}", each, searcher.category(each) or "", str(path))
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
    weight = "" if answer.text_weight is None else f", lambda {answer.text_weight:.2f}"
    console.print(f"{answer.searched:,} pictures in {1000 * answer.seconds:.0f} ms{weight}")
    if contact_sheet is not None:
        shown = image if image is not None else searcher.path(str(reference))
        write_sheet(contact_sheet, shown, text, found, searcher.about.pixel_limit)
        console.print(f"contact sheet: {contact_sheet}", soft_wrap=True)


@main.command()
@click.argument("pipeline")
@click.option("--because", default="a person asked for it", help="The reason written down.")
@click.option(
    "--module", default="cir_assets.definitions", show_default=True, help="Module with the definitions."
)
def rollback(pipeline: str, because: str, module: str) -> None:
    """Make the champion before the present one champion again.

    PIPELINE is dataset/backbone/recipe, as in wardrobe/tiny_clip/small. The models taken back are not promoted
    again by themselves; newly trained ones are judged against the champion gone back to.
    """
    from datetime import UTC, datetime

    from cir_assets.resources import Storage
    from cir_assets.store.promotions import NoChampion, PromotionLog, roll_back

    parts = pipeline.split("/")
    if len(parts) != 3:
        raise click.ClickException(f"{pipeline!r} is no pipeline; expected dataset/backbone/recipe")
    log = PromotionLog(Storage().promotions(parts[0], parts[1], parts[2]))
    try:
        decision = roll_back(log, because, datetime.now(UTC).replace(tzinfo=None))
    except NoChampion as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"champion of {pipeline} is {decision.challenger} again, no longer {decision.champion}")
    materialize(f'key:"{pipeline}/champion" or key:"leaderboard"', module)


@main.command()
@click.option(
    "--module", default="cir_assets.definitions", show_default=True, help="Module with the definitions."
)
def status(module: str) -> None:
    """Show what is stale, what is wrong, and who is champion.

    Exits with 1 when something that was made is stale, or a data set's definition is wrong.
    """
    import importlib

    import dagster as dg
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from cir_assets.automation import stale_assets
    from cir_assets.resources import Storage
    from cir_assets.store.promotions import PromotionLog

    console = Console(width=None if sys.stdout.isatty() else 140)
    warnings.simplefilter("ignore", category=dg.BetaWarning)
    graph = importlib.import_module(module).defs().resolve_asset_graph()
    storage = Storage()
    with dg.DagsterInstance.get() as instance:
        free, left = stale_assets(instance, graph)
    table = Table(title="champions", box=box.SIMPLE_HEAD)
    for name in ("pipeline", "champion", "since (UTC)", "headline on val", "last decision"):
        table.add_column(name)
    for file in sorted(storage.champions.rglob("*.parquet")):
        log = PromotionLog(file)
        reign, last = log.reigns().row(-1, named=True), log.rows().row(-1, named=True)
        headline = "" if reign["challenger_headline"] is None else f"{reign['challenger_headline']:.1f}"
        table.add_row(
            "/".join(file.relative_to(storage.champions).with_suffix("").parts),
            str(reign["challenger"]),
            f"{reign['decided_at']:%Y-%m-%d %H:%M}",
            headline,
            f"{last['decision']}: {last['reason']}",
        )
    console.print(table if table.row_count else "no champion yet: nothing was trained and evaluated")
    broken = [key for key in graph.materializable_asset_keys if key.path[-1] == "broken_definition"]
    for key in sorted(broken):
        console.print(f"wrong definition: {key.path[0]}: {graph.get(key).description}", soft_wrap=True)
    for key in free:
        console.print(f"stale: {key.to_user_string()}", soft_wrap=True)
    for key, why in left.items():
        console.print(f"stale: {key.to_user_string()}, left alone as {why}", soft_wrap=True)
    if not free and not left and not broken:
        console.print("nothing that was made is stale")
    else:
        raise SystemExit(1)


def picture_folder(dataset: str) -> Path:
    """The folder a data set's picture paths begin at, as its export for search tells it.

    Raises:
        ValueError: when nothing of it was exported.
    """
    from cir_assets.resources import Storage
    from cir_assets.serving.export import current, every_export, read_about

    root = Storage().root
    exports = every_export(root / "search", dataset)
    if not exports:
        raise ValueError(
            f"where {dataset}'s pictures lie is told by its asset …/search: materialize it first"
        )
    return root / read_about(current(exports[0])).picture_root


def show_comparison(first: str, second: str, found: Comparison, shown: int) -> None:
    """Print the differences of a comparison, and the queries that changed most."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 140)
    table = Table(title=f"{second}\nminus {first}", box=box.SIMPLE_HEAD)
    for name in ("", "first", "second", "difference (95 %)", "gained", "lost"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for metric in found.metrics:
        by = metric.difference
        table.add_row(
            metric.metric,
            f"{metric.first:.1f}",
            f"{metric.second:.1f}",
            f"{by.value:+.1f} ({by.low:+.1f} to {by.high:+.1f})",
            f"{metric.gained:,}",
            f"{metric.lost:,}",
        )
    console.print(table)
    console.print(f"{found.queries:,} queries, protocol {found.protocol.name}; percent and percentage points")
    for said, rows in (("gained", found.changes.head(shown)), ("lost", found.changes.tail(shown).reverse())):
        console.print(f"\n{said} most")
        for row in rows.iter_rows(named=True):
            ranks = f"{row['first_rank']:>6,} -> {row['second_rank']:<6,}"
            console.print(f"  {ranks} {row['reference']}  {row['caption']}", markup=False, soft_wrap=True)


def show_ladder(dataset: str) -> None:
    """Print each pipeline's ladder and where its report lies.

    Raises:
        click.ClickException: when nothing was published yet, or nothing of this data set.
    """
    import polars as pl
    from rich.console import Console

    from cir_assets.reporting.ladder import ladder_table
    from cir_assets.resources import Storage
    from cir_assets.store.publishing import NotPublished, published

    storage = Storage()
    try:
        with published(storage.evaluation) as connection:
            newest = pl.from_arrow(
                connection.sql(
                    "SELECT e.* FROM evaluations e SEMI JOIN leaderboard USING (evaluation_id) WHERE dataset = $1 "
                    "ORDER BY created_at, evaluation_id",
                    params=[dataset],
                ).to_arrow_table()
            )
            metrics = pl.from_arrow(connection.sql("SELECT * FROM metrics").to_arrow_table())
    except NotPublished as error:
        raise click.ClickException(str(error)) from error
    assert isinstance(newest, pl.DataFrame)
    assert isinstance(metrics, pl.DataFrame)
    if newest.is_empty():
        raise click.ClickException(f"nothing of {dataset!r} was evaluated yet")
    console = Console(width=None if sys.stdout.isatty() else 140)
    for (backbone, recipe), evaluations in newest.group_by("backbone", "recipe", maintain_order=True):
        console.print(ladder_table(evaluations, metrics))
        page = storage.report(dataset, str(backbone), str(recipe)) / "index.html"
        console.print(f"report: {page}", soft_wrap=True)
    if (storage.reports / "index.html").is_file():
        console.print(f"leaderboard: {storage.reports / 'index.html'}", soft_wrap=True)
    console.print(f"tables: {storage.evaluation}", soft_wrap=True)


def _worth_showing(line: str) -> str | None:
    """What a person wants to see of Dagster's log: progress, finished steps, failed checks and failures."""
    parts = line.rstrip().split(" - ")
    if len(parts) < 6:
        return None
    level, step, said = parts[2], parts[-2], parts[-1]
    if level == "INFO":
        return f"{step.replace('__', '/')}: {said}"
    if "STEP_SUCCESS" in parts:
        return said
    if "STEP_FAILURE" in parts or ("ASSET_CHECK_EVALUATION" in parts and "did not pass" in said):
        return said
    return None
