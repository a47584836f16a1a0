"""How ``defs/`` is loaded, folder by folder: checked names, errors with file, line and key, broken ones set aside."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from dagster.components.core.component_tree import ComponentTreeException
from pydantic import ValidationError

from cir_assets.components.mistakes import told
from cir_assets.components.specification import BackbonesSpec, DatasetSpec

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


def defs_folders(project: Path) -> list[str]:
    """The names of the folders below a project's ``defs/``, in order."""
    place = dg.ComponentTree.for_project(project).defs_module_path
    return sorted(each.name for each in place.iterdir() if each.is_dir() and each.name[0] not in "._")


def tree_of(project: Path, folder: str) -> dg.ComponentTree:
    """One folder below ``defs/`` as a tree of its own, so that a mistake in it is its own alone."""
    package = dg.ComponentTree.for_project(project).defs_module_name
    return dg.ComponentTree.from_module(importlib.import_module(f"{package}.{folder}"), project)


def built_from(tree: dg.ComponentTree) -> dg.Definitions:
    """What a tree builds, as definitions that can be merged with those of other trees."""
    # Its folder by name: without one, a schema of every component that is installed is made with each tree.
    built = tree.build_defs(tree.defs_module_path)
    return dg.Definitions(
        assets=built.assets,
        asset_checks=built.asset_checks,
        jobs=built.jobs,
        schedules=built.schedules,
        sensors=built.sensors,
    )


def tree_beside(context: dg.ComponentLoadContext, folder: str) -> dg.ComponentTree:
    """The folder beside the one being loaded, whether that is loaded by itself or with all others."""
    by_itself = context.path == context.defs_module_path
    package = context.defs_module_name.rpartition(".")[0] if by_itself else context.defs_module_name
    return dg.ComponentTree.from_module(importlib.import_module(f"{package}.{folder}"), context.project_root)


def explained(error: BaseException) -> str:
    """What a tree's error is about: the first cause that does not only say where in the tree it happened."""
    while isinstance(error, ComponentTreeException) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, ValidationError):
        model = {each.__name__: each for each in (DatasetSpec, BackbonesSpec)}.get(error.title)
        return told(error, model) if model is not None else str(error)
    return str(error)
