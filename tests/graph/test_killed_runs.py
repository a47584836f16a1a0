"""``kill -9`` in the middle of a run loses nothing: the next run goes on and ends as an unbroken one does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from cir_assets.store.database import DatabaseLocked, opened
from tests.trial_project import TrialProject

SELECTION = ('key:"wardrobe/*"', 'key:"leaderboard"')
RECIPE = {
    "text_encoder": {"learning_rate": 5.0e-4, "batch_size": 64, "epochs": 4},
    "combiner": {"learning_rate": 2.0e-4, "batch_size": 64, "epochs": 6},
}
PIPELINE = ("wardrobe", "tiny_clip", "quick")
TABLES = {
    "metrics": "SELECT method, split, category, metric, k, value, ci_low, ci_high "
    "FROM metrics JOIN evaluations USING (evaluation_id) ORDER BY ALL",
    "rankings": "SELECT method, split, query_id, target_rank, target_score, text_weight "
    "FROM rankings JOIN evaluations USING (evaluation_id) ORDER BY ALL",
    "training_epochs": "SELECT stage, epoch, step, loss, selection_metric FROM training_epochs ORDER BY ALL",
}


def small(folder: Path) -> TrialProject:
    project = TrialProject(folder)
    project.write_dataset(
        "wardrobe",
        source={"kind": "wardrobe", "size": 1000},
        recipes={"quick": RECIPE},
        encoding_batch_size=32,
    )
    return project


def final_tables(project: TrialProject) -> dict[str, list[tuple[object, ...]]]:
    with duckdb.connect(str(project.storage.evaluation), read_only=True) as connection:
        return {name: connection.sql(query).fetchall() for name, query in TABLES.items()}


def kill_when(project: TrialProject, moment: Callable[[], bool]) -> None:
    process = project.start(*SELECTION)
    deadline = time.monotonic() + 100
    while not moment():
        assert process.poll() is None, (
            f"the run ended before it could be killed:\n{project.log.read_text()[-3000:]}"
        )
        assert time.monotonic() < deadline, "the moment to kill the run never came"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def finish(project: TrialProject) -> None:
    process = project.start(*SELECTION)
    process.wait(timeout=200)
    assert process.returncode == 0, project.log.read_text()[-4000:]


def cached_features(project: TrialProject) -> int:
    file = project.storage.features("wardrobe", "tiny_clip")
    if not file.is_file():
        return 0
    try:
        with opened(file, read_only=True, wait_seconds=1) as connection:
            return int(connection.sql("SELECT count(*) FROM image_features").fetchall()[0][0])
    except (DatabaseLocked, duckdb.Error):
        return 0


def checkpoint(project: TrialProject, step: str) -> bool:
    return any(project.storage.models(*PIPELINE, step).glob("checkpoints/*/*.pt"))


@pytest.mark.timeout(580)
def test_runs_killed_while_encoding_and_in_both_stages_end_with_the_same_tables(tmp_path: Path) -> None:
    unbroken = small(tmp_path / "unbroken")
    with dg.DagsterInstance.ephemeral() as instance:
        assert unbroken.materialize(instance, *SELECTION).success

    broken = small(tmp_path / "broken")
    features = broken.storage.features("wardrobe", "tiny_clip")
    kill_when(broken, features.is_file)
    kill_when(broken, lambda: checkpoint(broken, "text_encoder"))
    kill_when(broken, lambda: checkpoint(broken, "combiner"))
    finish(broken)

    combiner = broken.entry("/".join((*PIPELINE, "combiner")))
    assert combiner.detail["metadata"]["resumed_after_epoch"] >= 1
    assert final_tables(broken) == final_tables(unbroken)
    for step in ("text_encoder", "combiner", "combiner_frozen_clip"):
        name = "/".join((*PIPELINE, step))
        assert broken.entry(name).data_version == unbroken.entry(name).data_version
    assert list(broken.storage.root.rglob("checkpoint*.pt")) == []
    assert cached_features(broken) == 1000
