"""A run notes its process and beats while it lives; outside of a run the folder is a folder alone."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from cir_assets.graph.recovery import PROCESS
from cir_assets.graph.resources import StorageFolder


def test_a_run_has_its_process_noted_and_a_heartbeat_as_long_as_it_lives(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    seen: list[list[str]] = []

    @dg.asset
    def looks(storage: StorageFolder) -> None:
        seen.append([file.name for file in storage.storage.heartbeats.iterdir()])

    result = dg.materialize(
        [looks], instance=instance, resources={"storage": StorageFolder(folder=str(tmp_path))}
    )
    assert seen == [[result.run_id]]
    assert list((tmp_path / "heartbeats").iterdir()) == []
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert PROCESS in run.tags
