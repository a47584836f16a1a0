"""``ladder``, ``leaderboard``, ``compare`` and ``sql``: what was evaluated and published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cir_assets.command_line.materializing import require_storage
from cir_assets.command_line.names import dataset_option
from cir_assets.command_line.output import Form, form_options, print_rows, say, terminal

if TYPE_CHECKING:
    from cir_assets.reporting.comparison import Comparison

FIGURES = """
SELECT e.dataset, e.backbone, e.recipe, e.split, e.protocol, e.method, m.metric, m.k, m.value, m.ci_low, m.ci_high,
    m.queries, e.evaluation_id, e.created_at
FROM evaluations e SEMI JOIN leaderboard USING (evaluation_id) JOIN metrics m USING (evaluation_id)
WHERE e.dataset = $1 AND m.category = 'mean' ORDER BY ALL
"""
"""A row a figure of every newest evaluation of a data set."""


@click.command()
@dataset_option("Data set whose pipelines are shown.")
@form_options
def ladder(dataset: str, form: Form) -> None:
    """Show the newest evaluation of every pipeline of a data set.

    As JSON or CSV it is a row a figure: method, metric, k, value, ci_low and ci_high.
    """
    require_storage()
    if form is None:
        show_ladder(dataset)
        return
    columns, rows = asked(FIGURES, [dataset])
    if not rows:
        raise click.ClickException(f"nothing of {dataset!r} was evaluated yet")
    print_rows([dict(zip(columns, row, strict=True)) for row in rows], form)


@click.command()
@form_options
def leaderboard(form: Form) -> None:
    """Show the newest evaluation of every method of every pipeline there is."""
    require_storage()
    show_query(
        "SELECT * FROM leaderboard",
        form,
        shown=["dataset", "backbone", "recipe", "split", "protocol", "method", "headline"],
    )


@click.command()
@click.argument("query")
@form_options
def sql(query: str, form: Form) -> None:
    """Ask the published tables something in SQL, as in: cir-assets sql "SELECT * FROM leaderboard".

    docs/sql-cookbook.md has twenty-two questions to begin with, docs/tables.md every column. Nothing can be changed.
    """
    require_storage()
    show_query(query, form)


def show_query(query: str, form: Form, shown: list[str] | None = None) -> None:
    """Print what a query finds; as a table for people the ``shown`` columns, or all."""
    from rich import box
    from rich.table import Table

    columns, rows = asked(query, [])
    if form is not None:
        print_rows([dict(zip(columns, row, strict=True)) for row in rows], form, columns)
        return
    wanted = [columns.index(name) for name in shown or columns]
    table = Table(box=box.SIMPLE_HEAD)
    for place in wanted:
        numeric = any(isinstance(row[place], int | float) for row in rows)
        table.add_column(columns[place], justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[place]) for place in wanted))
    terminal().print(table)


def asked(query: str, parameters: list[Any]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Columns and rows of what the published database answers.

    Raises:
        click.ClickException: when nothing was published yet, or DuckDB refuses, in its words.
    """
    import duckdb

    from cir_assets.store.layout import Storage
    from cir_assets.store.publishing import NotPublished, open_publication

    try:
        with open_publication(Storage().evaluation) as connection:
            found = connection.execute(query, parameters)
            return [column[0] for column in found.description or []], found.fetchall()
    except (NotPublished, duckdb.Error) as error:
        raise click.ClickException(str(error)) from error


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


@click.command()
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
@form_options
def compare(
    first: str,
    second: str,
    split: str | None,
    protocol: str | None,
    shown: int,
    page: Path | None,
    form: Form,
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

    require_storage()
    if page is not None and not page.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {page.parent} to write into", param_hint="--page")
    say("comparing …")
    try:
        with open_publication(Storage().evaluation) as connection:
            before, after = published_pair(connection, first, second, split, protocol)
            comparison = compare_evaluations(before, after)
            names = (before.label, after.label)
            if form is None:
                show_comparison(*names, comparison, shown)
            else:
                print_rows(comparison_rows(*names, comparison), form)
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
        click.echo(f"page: {page}", err=form is not None)
    except (NotComparable, NotMade, NotPublished, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


def comparison_rows(first: str, second: str, found: Comparison) -> list[dict[str, Any]]:
    """A row a metric: both figures in percent, their difference with its interval, queries gained and lost."""
    return [
        {
            "first": first,
            "second": second,
            "metric": metric.metric,
            "first_value": metric.first,
            "second_value": metric.second,
            "difference": metric.difference.value,
            "low": metric.difference.low,
            "high": metric.difference.high,
            "gained": metric.gained,
            "lost": metric.lost,
            "queries": found.queries,
            "protocol": found.protocol.name,
        }
        for metric in found.metrics
    ]


def show_comparison(first: str, second: str, found: Comparison, shown: int) -> None:
    """Print the differences of a comparison, and the queries that changed most."""
    from rich import box
    from rich.table import Table

    from cir_assets.reporting.comparison import short_names

    console = terminal()
    table = Table(title=f"{second}\nminus {first}", box=box.SIMPLE_HEAD)
    names = short_names(first, second)
    for name in ("", *names, "difference (95 %)", "gained", "lost"):
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
    console.print(
        f"gained and lost: the target came within k with {names[1]} alone, and with {names[0]} alone"
    )
    crossed = " or ".join(map(str, found.cut_offs))
    for said, every in (("nearer", found.nearer), ("further", found.further)):
        rows = every.head(shown)
        told = f"; the first {rows.height}, those that crossed k = {crossed} first, then in proportion:"
        console.print(
            f"\n{every.height:,} target{'' if every.height == 1 else 's'} {said}{told if rows.height else ''}",
            soft_wrap=True,
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
    console = terminal()
    for (backbone, recipe), evaluations in newest.group_by("backbone", "recipe", maintain_order=True):
        console.print(ladder_table(evaluations, metrics))
        page = storage.report(dataset, str(backbone), str(recipe)) / "index.html"
        console.print(f"report: {page}", soft_wrap=True)
    if (storage.reports / "index.html").is_file():
        console.print(f"leaderboard: {storage.reports / 'index.html'}", soft_wrap=True)
    console.print(f"tables: {storage.evaluation}", soft_wrap=True)
