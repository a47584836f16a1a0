"""What Dagster loads: every YAML below ``defs/``, the leaderboard, the sensors, and where things are kept."""

from __future__ import annotations

import os
import warnings
from functools import partial
from pathlib import Path

import dagster as dg

from cir_assets.components.broken import broken_definition
from cir_assets.components.dataset import Dataset, check_models_of
from cir_assets.components.loading import (
    InvalidDefinition,
    built_from,
    defs_folders,
    explained,
    tree_of,
)
from cir_assets.graph.assets.leaderboard import leaderboard_asset
from cir_assets.graph.notifications import Webhook, decision_sensor, failure_sensor
from cir_assets.graph.resources import StorageFolder
from cir_assets.graph.sensors.dead_runs import dead_runs_sensor
from cir_assets.graph.sensors.edited_definitions import edited_definitions_sensor, state_of_definitions
from cir_assets.graph.sensors.stale_sweep import stale_sweep_sensor
from cir_assets.graph.sensors.upstream_changes import upstream_changes_sensor
from cir_assets.store.layout import Storage

# Whoever loads this is told what is his to mend; not by which of Dagster's own parts Dagster is made of.
for category in (dg.BetaWarning, dg.PreviewWarning, dg.SupersessionWarning):
    warnings.filterwarnings("ignore", category=category)

CONSOLE_LEVEL = "CIR_ASSETS_CONSOLE_LEVEL"
"""Set where one terminal shows a whole service; all that runs say is in the UI."""

PACKAGE = Path(__file__).parent
"""Where the graph lies that comes with the package: its ``dg.toml`` says so."""


def build_definitions(
    project: Path = PACKAGE,
    storage: Storage | None = None,
    *,
    set_broken_aside: bool = False,
    look_every_seconds: int = 15,
) -> dg.Definitions:
    """The whole graph of a project folder, with its things kept in ``storage``.

    Args:
        project: folder with a ``pyproject.toml`` whose ``[tool.dg]`` names the package that holds ``defs/``; by
            default what comes with this package.
        storage: where files lie; by default ``DAGSTER_HOME``, else ``storage`` in the working folder.
        set_broken_aside: load the other data sets where one's YAML is wrong; in its place stands one asset that
            says what is wrong. Backbones are everybody's: a mistake there is raised all the same.
        look_every_seconds: between two looks for changed assets, and for changed definitions.

    Raises:
        InvalidDefinition: for a YAML that names a backbone or models nobody defines, naming file and line.
        Exception: Dagster's own, for a YAML that is not as the component's specification asks, naming file,
            line and key.
    """
    # Before anything is read: what is edited meanwhile counts as changed.
    state = state_of_definitions(project)
    trees: dict[str, dg.ComponentTree] = {}
    broken: dict[str, Exception] = {}
    for name in defs_folders(project):
        try:
            trees[name] = tree_of(project, name)
            built_from(trees[name])
        except Exception as error:
            if name == "backbones" or not set_broken_aside:
                raise
            broken[name] = error
            trees.pop(name, None)
    datasets = [each for tree in trees.values() for each in tree.get_all_components(of_type=Dataset)]
    for dataset in list(datasets):
        try:
            check_models_of(dataset, datasets)
        except InvalidDefinition as error:
            if not set_broken_aside:
                raise
            broken[dataset.name] = error
            datasets.remove(dataset)
            trees.pop(dataset.name)
    pipelines = [pipeline for dataset in datasets for pipeline in dataset.pipelines()]
    return dg.Definitions.merge(
        *(built_from(tree) for tree in trees.values()),
        dg.Definitions(
            assets=[
                leaderboard_asset(pipelines, list(broken)),
                *(broken_definition(*each) for each in broken.items()),
            ],
            sensors=[
                upstream_changes_sensor(look_every_seconds),
                edited_definitions_sensor(project, state, look_every_seconds, partial(problem_of, project)),
                stale_sweep_sensor(),
                dead_runs_sensor(),
                failure_sensor(),
                decision_sensor(),
            ],
            resources={
                "storage": StorageFolder(folder=str((storage or Storage()).root)),
                "webhook": Webhook(),
            },
            executor=dg.in_process_executor,
            loggers=console_logger(),
        ),
    )


def console_logger() -> dict[str, dg.LoggerDefinition]:
    """What runs print: from the level the environment names on, all where it names none."""
    level = os.environ.get(CONSOLE_LEVEL)
    return {"console": dg.colored_console_logger.configured({"log_level": level})} if level else {}


def problem_of(project: Path) -> str | None:
    """Why a project's definitions cannot be loaded as they are on disk now; None where they can."""
    try:
        build_definitions(project, set_broken_aside=True)
    except Exception as error:
        return explained(error)
    return None


@dg.definitions
def defs() -> dg.Definitions:
    """The graph that comes with the package."""
    return build_definitions(set_broken_aside=True)
