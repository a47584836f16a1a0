"""``cir-assets``: the whole graph from a terminal, and what came out of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
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
    command = [
        *(str(Path(sys.executable).with_name("dagster")), "asset", "materialize"),
        *("--select", f'+key:"{dataset}/*/{recipe}/report" or key:"leaderboard"', "-m", module),
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
    show_ladder(dataset)
    click.echo(f"{time.monotonic() - started:.0f} s in all")


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
def compare(first: str, second: str, split: str, protocol: str, shown: int) -> None:
    """Compare two published evaluations by a paired bootstrap over their queries.

    Each is named dataset/backbone/recipe/method, as in wardrobe/tiny_clip/small/combiner. A difference is SECOND
    minus FIRST.
    """
    from cir_assets.reporting.comparison import NotComparable, compare_rankings, published_evaluation
    from cir_assets.resources import Storage
    from cir_assets.store.database import opened

    evaluation = Storage().evaluation
    if not evaluation.is_file():
        raise click.ClickException(
            f"{evaluation} is not there: materialize the asset leaderboard, or run make demo"
        )
    try:
        with opened(evaluation, read_only=True) as connection:
            before, after = (
                published_evaluation(connection, name, split, protocol) for name in (first, second)
            )
        show_comparison(first, second, compare_rankings(before, after, protocol), shown)
    except (NotComparable, ValueError) as error:
        raise click.ClickException(str(error)) from error


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
    from cir_assets.store.database import opened

    storage = Storage()
    if not storage.evaluation.is_file():
        raise click.ClickException(
            f"{storage.evaluation} is not there: materialize the asset leaderboard, or run make demo"
        )
    with opened(storage.evaluation, read_only=True) as connection:
        newest = pl.from_arrow(
            connection.sql(
                "SELECT e.* FROM evaluations e SEMI JOIN leaderboard USING (evaluation_id) WHERE dataset = $1 "
                "ORDER BY created_at, evaluation_id",
                params=[dataset],
            ).to_arrow_table()
        )
        metrics = pl.from_arrow(connection.sql("SELECT * FROM metrics").to_arrow_table())
    assert isinstance(newest, pl.DataFrame)
    assert isinstance(metrics, pl.DataFrame)
    if newest.is_empty():
        raise click.ClickException(f"nothing of {dataset!r} was evaluated yet")
    console = Console(width=None if sys.stdout.isatty() else 140)
    for (backbone, recipe), evaluations in newest.group_by("backbone", "recipe", maintain_order=True):
        console.print(ladder_table(evaluations, metrics))
        page = storage.report(dataset, str(backbone), str(recipe)) / "index.html"
        console.print(f"report: {page}", soft_wrap=True)
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
