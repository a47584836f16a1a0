"""A pipeline is made by hand, step after step, without Dagster; the graph then finds everything made."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import dagster as dg
import pytest

from cir_assets.components.dataset import Dataset
from cir_assets.components.loading import tree_of
from cir_assets.pipeline.step import Work, run
from cir_assets.pipeline.whole import steps_of
from tests.changes import Shop
from tests.trial_project import metadata_of


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory, instance: dg.DagsterInstance) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop"), instance)


def test_what_was_made_by_hand_is_what_the_graph_would_make(shop: Shop) -> None:
    with shop.project.importable():
        [dataset] = tree_of(shop.project.folder, "shop").get_all_components(of_type=Dataset)
    said: list[str] = []
    work = Work(shop.project.storage, say=said.append)
    steps = steps_of(dataset.pipelines())
    made = {step.name: run(step, work) for step in steps}
    assert not any(reused for name, (_, reused) in made.items() if not name.startswith("backbones/"))
    assert all(check.passed for step, _ in made.values() for check in step.checks.values())
    ran = shop.project.materialize(shop.instance, 'key:"shop/*"', 'key:"leaderboard"')
    assert ran.success
    of_graph = {
        event.asset_key.to_user_string(): metadata_of(ran, event.asset_key.to_user_string())
        for event in ran.get_asset_materialization_events()
        if event.asset_key is not None
    }
    assert of_graph.keys() == {name for name in made if not name.startswith("backbones/")}
    assert {name for name, metadata in of_graph.items() if not metadata["reused"]} == set()
    again = {step.name: run(step, work) for step in steps}
    assert {name: step.data_version for name, (step, _) in again.items()} == {
        name: step.data_version for name, (step, _) in made.items()
    }
    assert all(reused for _, reused in again.values())


def test_making_by_hand_searching_and_serving_load_no_dagster(tmp_path: Path) -> None:
    exported = tmp_path / "search" / "shop" / "tiny_clip" / "quick"
    exported.mkdir(parents=True)
    (exported / "current.json").write_text('{"version": "gone"}')
    # One process for all: what any of them loaded would still be there at the end.
    code = textwrap.dedent(
        f"""\
        import os, sys
        import cir_assets.pipeline.whole, cir_assets.serving.server
        from click.testing import CliRunner
        from cir_assets.command_line import main
        os.environ["DAGSTER_HOME"] = {str(tmp_path)!r}
        for command in ("search --dataset shop --reference a --text b", "serve"):
            answer = CliRunner().invoke(main, command.split())
            assert answer.exit_code == 1 and "materialize" in answer.output, (command, answer.output)
        sys.exit("dagster" in sys.modules)
        """
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
