"""``cir-assets``: the whole graph from a terminal, and what came out of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import click

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
