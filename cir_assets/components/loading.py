"""What components share while they load: checked names, and errors that name file, line and key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

NAME_PATTERN = re.compile(r"^[a-z][a-z0-9_]*$")


class InvalidDefinition(ValueError):
    """A ``defs.yaml`` that says something impossible; the message names file, line and key."""


def checked_name(name: str, folder: Path) -> str:
    """The folder's name as a data set's name.

    Raises:
        InvalidDefinition: when it is not lower-case letters, digits and underscores.
    """
    if not NAME_PATTERN.match(name):
        raise InvalidDefinition(
            f"{folder}: the folder's name becomes the data set's name, so it must be lower-case letters, "
            f"digits and underscores, beginning with a letter; rename {name!r}"
        )
    return name


def at(context: dg.ComponentLoadContext, *keys: str | int) -> str:
    """``file:line`` of a key below ``attributes`` of the YAML being loaded."""
    tree = context.resolution_context.source_position_tree
    path: Sequence[str | int] = ["attributes", *keys]
    if tree is None:
        return str(context.path / "defs.yaml")
    position, _ = tree.lookup_closest_and_path(path, None)
    return f"{position.filename}:{position.start.line}"
