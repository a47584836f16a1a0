"""``cir-assets``: the whole graph from a terminal, and what came out of it."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import click

FC = TypeVar("FC", bound=Callable[..., Any])

if TYPE_CHECKING:
    from rich.console import Console

    from cir_assets.reporting.comparison import Comparison

NAME = re.compile(r"[a-z][a-z0-9_]*")
"""Names of data sets, backbones and recipes."""

HOST = re.compile(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")
"""Names of hosts; an address of version 6 stands in brackets."""


def checked_name(_context: click.Context, parameter: click.Parameter, value: str) -> str:
    """A name as it stands in paths and asset keys, or a usage error; a recipe may be ``*`` for every one."""
    if NAME.fullmatch(value) or (parameter.name == "recipe" and value == "*"):
        return value
    raise click.BadParameter(
        f"{value!r} is no name: lower-case letters, digits and underscores, beginning with a letter"
    )


def checked_pipeline(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """dataset/backbone/recipe, or a usage error."""
    parts = value.split("/")
    if len(parts) == 3 and all(map(NAME.fullmatch, parts)):
        return value
    raise click.BadParameter(f"{value!r} is no pipeline; expected dataset/backbone/recipe")


def checked_hosts(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> list[str]:
    """Names as a Host header has them, in small letters, or a usage error."""
    names = [name.lower().rstrip(".") for value in values for name in value.split(",") if name]
    for name in names:
        if not HOST.fullmatch(name):
            raise click.BadParameter(
                f"{name!r} is no name of a host; expected one without https:// and without a port, as in "
                "shop.example, or *.shop.example for all below it"
            )
    return names


def dataset_option(meaning: str) -> Callable[[FC], FC]:
    """``--dataset``, the embedded one by default."""
    return click.option(
        "--dataset", default="wardrobe", show_default=True, callback=checked_name, help=meaning
    )


module_option = click.option(
    "--module", default="cir_assets.definitions", show_default=True, help="Module with the definitions."
)


@click.group()
def main() -> None:
    """Composed image retrieval as a living graph of Dagster assets."""
    # Dagster takes absolute paths alone.
    home = Path(os.environ.get("DAGSTER_HOME") or "storage").expanduser().absolute()
    os.environ["DAGSTER_HOME"] = str(home)


@main.command()
@dataset_option("Data set to materialize.")
@click.option(
    "--recipe",
    default="small",
    show_default=True,
    callback=checked_name,
    help="Recipe to run; '*' runs every one.",
)
@module_option
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
        click.ClickException: when there is no storage folder, or the run failed; its last lines are shown before.
    """
    require_storage()
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
@dataset_option("Data set whose pipelines are shown.")
def ladder(dataset: str) -> None:
    """Show the newest evaluation of every pipeline of a data set."""
    show_ladder(dataset)


@main.command()
@click.argument("first")
@click.argument("second")
@click.option(
    "--split",
    type=click.Choice(["val", "test"]),
    help="Of what is named by its pipeline.  [default: that of the one named by id, else val]",
)
@click.option(
    "--protocol",
    help="Of what is named by its pipeline.  [default: that of the one named by id, else fashioniq]",
)
@click.option(
    "--shown",
    default=5,
    show_default=True,
    type=click.IntRange(0),
    help="Queries shown that gained and lost most.",
)
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the comparison as a page, in pictures.",
)
def compare(
    first: str,
    second: str,
    split: str | None,
    protocol: str | None,
    shown: int,
    page: Path | None,
) -> None:
    """Compare two published evaluations by a paired bootstrap over their queries.

    Each is named dataset/backbone/recipe/method, as in wardrobe/tiny_clip/small/combiner, which is its newest; or by
    an evaluation_id of the table evaluations, which may be an older one. A difference is SECOND minus FIRST.
    """
    from cir_assets.pipeline.source import picture_root_of
    from cir_assets.reporting.comparison import NotComparable, compare_evaluations, published_pair
    from cir_assets.reporting.comparison_page import SHOWN_RETRIEVED, write_comparison
    from cir_assets.store.layout import Storage
    from cir_assets.store.made import NotMade
    from cir_assets.store.publishing import NotPublished, open_publication

    try:
        with open_publication(Storage().evaluation) as connection:
            before, after = published_pair(connection, first, second, split, protocol)
            comparison = compare_evaluations(before, after)
            names = (before.label, after.label)
            show_comparison(*names, comparison, shown)
            if page is None:
                return
            dataset = before.pipeline[0]
            paths = dict(
                connection.execute("SELECT image, path FROM images WHERE dataset = $1", [dataset]).fetchall()
            )
            retrieved = tuple(each.retrieved(connection, SHOWN_RETRIEVED) for each in (before, after))
        root = picture_root_of(Storage(), dataset)
        write_comparison(
            page,
            names,
            comparison,
            lambda image: root / paths[image] if image in paths else None,
            retrieved=(retrieved[0], retrieved[1]),
        )
        click.echo(f"page: {page}")
    except (NotComparable, NotMade, NotPublished, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8765, show_default=True, help="Port to listen on.")
@click.option(
    "--trusted-host",
    "trusted_hosts",
    multiple=True,
    envvar="CIR_ASSETS_TRUSTED_HOSTS",
    show_envvar=True,
    callback=checked_hosts,
    metavar="NAME",
    help="A name people reach the server by, as behind a proxy; may be given many times, in the variable with "
    "blanks between.  [default: this machine's own names; any with a --host others can reach]",
)
@click.option(
    "--prepare",
    default="wardrobe/tiny_clip/small",
    callback=checked_pipeline,
    show_default=True,
    help="Pipeline that is materialized first where nothing can be searched yet.",
)
@click.option(
    "--processes",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Processes that serve together, with one copy of the features and of uploads.",
)
@module_option
def serve(host: str, port: int, trusted_hosts: list[str], prepare: str, processes: int, module: str) -> None:
    """Serve the search page and its API over every champion there is."""
    from cir_assets.serving.export import NothingExported, every_export
    from cir_assets.store.layout import Storage

    root = Storage().root
    if not every_export(root / "search"):
        click.echo(f"nothing can be searched yet: materializing {prepare} first")
        materialize(f'+key:"{prepare}/search" or key:"leaderboard"', module)
    from cir_assets.serving.app import search_app
    from cir_assets.serving.champions import Champions
    from cir_assets.serving.server import run_processes, server

    try:
        champions = Champions(root)
    except NothingExported as error:
        raise click.ClickException(str(error)) from error
    for searcher in champions.all():
        click.echo(f"{searcher.name}: {len(searcher):,} pictures, {searcher.about.method}")
    click.echo(f"search: http://{host}:{port}   API: http://{host}:{port}/openapi.json")
    # To other machines' names only those may answer who were told to listen to others, or who are told the names.
    here = ["127.0.0.1", "localhost", "[::1]"]
    hosts = [*here, *trusted_hosts] if trusted_hosts or host in (*here, "::1") else None
    with suppress(KeyboardInterrupt):
        if processes == 1:
            server(search_app(champions, hosts=hosts), host=host, port=port).run()
            return
        del champions
        with tempfile.TemporaryDirectory(prefix="cir_assets_") as shared:
            run_processes(processes, root, host=host, port=port, hosts=hosts, shared=Path(shared))


@main.command()
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
) -> None:
    """Find the pictures most like a reference with a change applied, by the data set's champion.

    Give the reference as a file (--image) or as a picture of the data set (--reference).
    """
    from rich import box
    from rich.table import Table

    from cir_assets.serving.champions import Champions
    from cir_assets.serving.export import NothingExported
    from cir_assets.serving.sheet import write_sheet
    from cir_assets.serving.uploads import RefusedInput, UnknownPicture
    from cir_assets.store.layout import Storage

    if (image is None) == (reference is None):
        raise click.UsageError("give the reference either by --image or by --reference")
    try:
        searcher = Champions(Storage().root, dataset=dataset).of(dataset, pipeline)
        name = searcher.add_upload(image.read_bytes()) if image is not None else str(reference)
        answer = searcher.search(name, text, top=top, category=category, pull=pull, copies=copies)
    except (NothingExported, RefusedInput, UnknownPicture, OSError) as error:
        raise click.ClickException(str(error)) from error
    table = Table(title=f"{searcher.name}, {searcher.about.method}", box=box.SIMPLE_HEAD)
    for column in ("rank", "score", "picture", "category", "file"):
        # A path is of use only as a whole.
        table.add_column(
            column,
            justify="right" if column in ("rank", "score") else "left",
            no_wrap=column != "file",
            overflow="fold",
        )
    answer_rows = [
        (each, searcher.path(each), score) for each, score in zip(answer.images, answer.scores, strict=True)
    ]
    for rank, (each, path, score) in enumerate(answer_rows, 1):
        table.add_row(str(rank), f"{score:.3f}", each, searcher.category(each) or "", str(path))
    console = terminal(200)
    console.print(table)
    weight = "" if answer.text_weight is None else f", lambda {answer.text_weight:.2f}"
    console.print(f"{answer.searched:,} pictures in {1000 * answer.seconds:.0f} ms{weight}")
    if contact_sheet is not None:
        shown = image if image is not None else searcher.path(str(reference))
        try:
            write_sheet(contact_sheet, shown, text, answer_rows, searcher.about.pixel_limit)
        except OSError as error:
            raise click.ClickException(f"the contact sheet cannot be written: {error}") from error
        console.print(f"contact sheet: {contact_sheet}", soft_wrap=True)


@main.command()
@click.argument("pipeline", callback=checked_pipeline)
@click.option("--because", default="a person asked for it", help="The reason written down.")
@module_option
def rollback(pipeline: str, because: str, module: str) -> None:
    """Make the champion before the present one champion again.

    PIPELINE is dataset/backbone/recipe, as in wardrobe/tiny_clip/small. The models taken back are not promoted
    again by themselves; newly trained ones are judged against the champion gone back to. What the search server
    reads is made again, so that it serves the champion gone back to within seconds.
    """
    from datetime import UTC, datetime

    from cir_assets.store.layout import Storage
    from cir_assets.store.promotions import ChampionChanged, NoChampion, PromotionLog, roll_back

    dataset, backbone, recipe = pipeline.split("/")
    log = PromotionLog(Storage().promotions(dataset, backbone, recipe))
    try:
        decision = roll_back(log, because, datetime.now(UTC).replace(tzinfo=None))
    except (NoChampion, ChampionChanged) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"champion of {pipeline} is {decision.challenger} again, no longer {decision.champion}")
    materialize(f'key:"{pipeline}/champion" or key:"{pipeline}/search" or key:"leaderboard"', module)


@main.command()
@module_option
def status(module: str) -> None:
    """Show what is stale, what is wrong, and who is champion.

    Exits with 1 when something that was made is stale, or a data set's definition is wrong.
    """
    from rich import box
    from rich.table import Table

    from cir_assets.graph.status import status_of
    from cir_assets.store.layout import Storage
    from cir_assets.store.promotions import PromotionLog

    require_storage()
    console = terminal()
    graph = status_of(import_definitions(module).defs())
    storage = Storage()
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
    for dataset, wrong in graph.wrong.items():
        console.print(f"wrong definition: {dataset}: {wrong}", soft_wrap=True)
    for asset in graph.stale:
        console.print(f"stale: {asset}", soft_wrap=True)
    for asset, why in graph.left_alone.items():
        console.print(f"stale: {asset}, left alone as {why}", soft_wrap=True)
    for asset, since in graph.overdue.items():
        console.print(f"overdue: {asset}, {since}", soft_wrap=True)
    if not graph.stale and not graph.left_alone and not graph.wrong:
        console.print("nothing that was made is stale")
    else:
        raise SystemExit(1)


def terminal(width: int = 140) -> Console:
    """Where tables are printed; text of data sets and people stands as it is, brackets and colons too."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else width, markup=False, emoji=False)


def require_storage() -> None:
    """See that Dagster's folder is there, and takes a file: of a full or read-only disk Dagster tells in forty lines.

    Raises:
        click.ClickException: when it is not, or takes none.
    """
    home = Path(os.environ["DAGSTER_HOME"])
    if not home.is_dir():
        raise click.ClickException(
            f"there is no storage folder {home}: run this in the project's folder, or set DAGSTER_HOME to it"
        )
    try:
        with tempfile.TemporaryFile(dir=home) as trial:
            trial.write(bytes(4096))
            trial.flush()
            os.fsync(trial.fileno())
    except OSError as error:
        raise click.ClickException(
            f"nothing can be written to the storage folder {home} ({error.strerror}): free space on its disk, let "
            "this user write there, or set DAGSTER_HOME to another folder"
        ) from error


def import_definitions(module: str) -> ModuleType:
    """The module with the definitions.

    Raises:
        click.BadParameter: when there is none of that name, or it defines nothing.
    """
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise click.BadParameter(f"there is no module {error.name}", param_hint="--module") from error
    if not hasattr(found, "defs"):
        raise click.BadParameter(f"{module} has no function defs", param_hint="--module")
    return found


def show_comparison(first: str, second: str, found: Comparison, shown: int) -> None:
    """Print the differences of a comparison, and the queries that changed most."""
    from rich import box
    from rich.table import Table

    console = terminal()
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
    for note in found.notes:
        console.print(note, soft_wrap=True)
    for said, every in (("gained", found.gained), ("lost", found.lost)):
        rows = every.head(shown)
        console.print(
            f"\n{every.height:,} {said}" + (f"; the {rows.height} that {said} most:" if shown else "")
        )
        for row in rows.iter_rows(named=True):
            ranks = f"{row['first_rank']:>6,} -> {row['second_rank']:<6,}"
            console.print(f"  {ranks} {row['reference']}  {row['caption']}", soft_wrap=True)


def show_ladder(dataset: str) -> None:
    """Print each pipeline's ladder and where its report lies.

    Raises:
        click.ClickException: when nothing was published yet, or nothing of this data set.
    """
    import polars as pl
    from rich.console import Console

    from cir_assets.reporting.ladder import ladder_table
    from cir_assets.store.layout import Storage
    from cir_assets.store.publishing import NotPublished, open_publication

    storage = Storage()
    try:
        with open_publication(storage.evaluation) as connection:
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
        terminal().print(f"report: {page}", soft_wrap=True)
    if (storage.reports / "index.html").is_file():
        terminal().print(f"leaderboard: {storage.reports / 'index.html'}", soft_wrap=True)
    terminal().print(f"tables: {storage.evaluation}", soft_wrap=True)


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
