"""``demo`` and ``run``: a data set from its root to its report."""

from __future__ import annotations

import time

import click

from cir_assets.command_line.evaluations import show_ladder
from cir_assets.command_line.materializing import materialize
from cir_assets.command_line.names import checked_name, dataset_option, module_option

verbose_option = click.option("--verbose", is_flag=True, help="Show Dagster's whole event log.")


@click.command()
@dataset_option("Data set to materialize.")
@click.option(
    "--recipe",
    default="small",
    show_default=True,
    callback=checked_name,
    help="Recipe to run; '*' runs every one.",
)
@module_option
@verbose_option
def demo(dataset: str, recipe: str, module: str, verbose: bool) -> None:
    """Materialize one data set from its root to its report, and show the evaluation table and the report's path."""
    started = time.monotonic()
    materialize(f'+key:"{dataset}/*/{recipe}/report" or key:"leaderboard"', module, verbose=verbose)
    show_ladder(dataset)
    click.echo(f"{time.monotonic() - started:.0f} s in all")


@click.command()
@click.argument("dataset", callback=checked_name)
@click.option(
    "--recipe",
    default="*",
    show_default=True,
    callback=checked_name,
    help="Recipe to run; '*' runs every one.",
)
@module_option
@verbose_option
def run(dataset: str, recipe: str, module: str, verbose: bool) -> None:
    """Make everything of one data set: from its pictures to its report, its champion and its search.

    DATASET is the name of its folder below cir_assets/defs/. What is there already costs seconds.
    """
    from cir_assets.store.layout import Storage

    started = time.monotonic()
    wanted = [f'+key:"{dataset}/*/{recipe}/{step}"' for step in ("report", "champion", "search")]
    materialize(" or ".join([*wanted, 'key:"leaderboard"']), module, verbose=verbose)
    if (Storage().every_result / dataset).is_dir():
        show_ladder(dataset)
    click.echo(f"to search it: make search, or cir-assets search --dataset {dataset}")
    click.echo(f"{time.monotonic() - started:.0f} s in all")
