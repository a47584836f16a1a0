"""Names a command is given, checked before anything begins, and the options many commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from cir_assets.starting.here import dataset_here, module_here

Command = TypeVar("Command", bound=Callable[..., Any])

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


def dataset_option(meaning: str) -> Callable[[Command], Command]:
    """``--dataset``, by default the first of the project in the working folder, else the embedded one."""
    return click.option(
        "--dataset",
        default=dataset_here,
        show_default="the project's first, or wardrobe",
        callback=checked_name,
        help=meaning,
    )


module_option = click.option(
    "--module",
    default=module_here,
    show_default="the project's in this folder, or cir_assets.definitions",
    help="Module with the definitions.",
)
