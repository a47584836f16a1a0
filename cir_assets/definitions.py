"""What Dagster loads: every YAML below ``defs/``, the leaderboard, the sensor, and where things are kept."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from cir_assets.assets.leaderboard import leaderboard_asset
from cir_assets.assets.pipeline import Pipeline
from cir_assets.automation import automation_sensor
from cir_assets.components.dataset import Dataset
from cir_assets.components.graph import check_models_of
from cir_assets.resources import Storage

PROJECT = Path(__file__).parent.parent


def build_definitions(project: Path = PROJECT, storage: Storage | None = None) -> dg.Definitions:
    """The whole graph of a project folder, with its things kept in ``storage``.

    Args:
        project: folder with a ``pyproject.toml`` whose ``[tool.dg]`` names the package that holds ``defs/``.
        storage: where files lie; by default ``DAGSTER_HOME``, else ``storage`` in the working folder.

    Raises:
        InvalidDefinition: for a YAML that names a backbone or models nobody defines, naming file and line.
        Exception: Dagster's own, for a YAML that is not as the component's specification asks, naming file,
            line and key.
    """
    tree = dg.ComponentTree.for_project(project)
    from_files = tree.build_defs()
    datasets = list(tree.get_all_components(of_type=Dataset))
    check_models_of(datasets)
    pipelines: list[Pipeline] = [pipeline for dataset in datasets for pipeline in dataset.pipelines()]
    return dg.Definitions.merge(
        from_files,
        dg.Definitions(
            assets=[leaderboard_asset(pipelines)],
            sensors=[automation_sensor()],
            resources={"storage": storage or Storage()},
            executor=dg.in_process_executor,
        ),
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The graph of this project."""
    return build_definitions()
