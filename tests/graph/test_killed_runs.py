"""``kill -9`` in the middle of a run loses nothing: the next run goes on and ends as an unbroken one does."""

from __future__ import annotations

import signal
from pathlib import Path

import dagster as dg
import duckdb

from cir_assets.store.database import open_database
from tests.changes import Shop
from tests.trial_project import TrialProject
from tests.warm_process import Death

SELECTION = ('key:"shop/*"', 'key:"leaderboard"')
PIPELINE = ("shop", "tiny_clip", "quick")
TABLES = {
    "metrics": "SELECT method, split, category, metric, k, value, ci_low, ci_high "
    "FROM metrics JOIN evaluations USING (evaluation_id) ORDER BY ALL",
    "rankings": "SELECT method, split, query_id, target_rank, target_score, text_weight "
    "FROM rankings JOIN evaluations USING (evaluation_id) ORDER BY ALL",
    "training_epochs": "SELECT stage, epoch, step, loss, selection_metric FROM training_epochs ORDER BY ALL",
}


def final_tables(project: TrialProject) -> dict[str, list[tuple[object, ...]]]:
    with duckdb.connect(str(project.storage.evaluation), read_only=True) as connection:
        return {name: connection.sql(query).fetchall() for name, query in TABLES.items()}


def killed(project: TrialProject, death: Death) -> None:
    process = project.start(*SELECTION, death=death)
    process.join(600)
    assert process.exitcode == -signal.SIGKILL, project.log.read_text()[-3000:]


def cached_features(project: TrialProject) -> int:
    with open_database(project.storage.features("shop", "tiny_clip"), read_only=True) as connection:
        return int(connection.sql("SELECT count(*) FROM image_features").fetchall()[0][0])


def test_runs_killed_while_encoding_and_in_both_stages_end_with_the_same_tables(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        shop = Shop(tmp_path, instance)
        shop.stages["text_encoder"]["epochs"], shop.stages["combiner"]["epochs"] = 4, 6
        shop.settings["encoding_batch_size"] = 32
        shop.write()
        assert shop.project.materialize(instance, *SELECTION).success

    unbroken, shop.project = shop.project, TrialProject(tmp_path / "broken")
    shop.write()
    broken = shop.project
    features = broken.storage.features("shop", "tiny_clip")
    killed(broken, Death("open", f"{shop.pictures}/*.jpg", 100, after=features))
    assert cached_features(broken) < 200
    for stage in ("text_encoder", "combiner"):
        killed(broken, Death("os.rename", f"*/{stage}/checkpoints/*/*.pt", 2))
    process = broken.start(*SELECTION)
    process.join(600)
    assert process.exitcode == 0, broken.log.read_text()[-4000:]

    combiner = broken.entry("/".join((*PIPELINE, "combiner")))
    assert combiner.detail["metadata"]["resumed_after_epoch"] >= 1
    assert final_tables(broken) == final_tables(unbroken)
    for step in ("text_encoder", "combiner", "combiner_frozen_clip"):
        name = "/".join((*PIPELINE, step))
        assert broken.entry(name).data_version == unbroken.entry(name).data_version
    assert list(broken.storage.root.rglob("checkpoint*.pt")) == []
    assert cached_features(broken) == 200
