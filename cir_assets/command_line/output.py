"""What commands print: tables for people, JSON and CSV for programs; words about what goes on go to stderr."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import click

from cir_assets.command_line.group import stop_writing
from cir_assets.command_line.names import Command

if TYPE_CHECKING:
    from rich.console import Console

Form = Literal["json", "csv"] | None
"""How rows are printed; None as a table for people."""


def form_options(command: Command) -> Command:
    """``--json`` and ``--csv``."""
    as_csv: Callable[[Command], Command] = click.option(
        "--csv", "form", flag_value="csv", help="Print CSV, with a header."
    )
    as_json: Callable[[Command], Command] = click.option(
        "--json", "form", flag_value="json", default=None, help="Print JSON: a list with an object a row."
    )
    return as_json(as_csv(command))


def print_rows(rows: Iterable[Mapping[str, Any]], form: Form, columns: Sequence[str] = ()) -> None:
    """Print rows for a program: times in ISO 8601, figures as they are.

    Args:
        rows: by column.
        form: "json" or "csv".
        columns: the header of CSV where there may be no row.
    """
    rows = list(rows)
    if form == "json":
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False, default=str))
        return
    writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]) if rows else columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def say(sentence: str) -> None:
    """Tell a person what goes on, at once."""
    click.echo(sentence, err=True)


def terminal(width: int = 140) -> Console:
    """Where tables are printed; text of data sets and people stands as it is, brackets, colons and figures too."""
    from rich.console import Console

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            stop_writing()
            raise SystemExit(0)

    return Terminal(width=None if sys.stdout.isatty() else width, markup=False, emoji=False, highlight=False)
