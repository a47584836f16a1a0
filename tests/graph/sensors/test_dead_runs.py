"""A run whose process was killed is ended by the next look, and what it was making is asked for again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg

from cir_assets.graph.conditions import on_upstream_change
from cir_assets.graph.recovery import _started
from cir_assets.graph.resources import StorageFolder
from cir_assets.graph.sensors.dead_runs import dead_runs_sensor
from cir_assets.graph.sensors.stale_sweep import stale_assets

RAW, EVALUATION = dg.AssetKey("raw"), dg.AssetKey("evaluation")


def shop(folder: Path) -> dg.Definitions:
    """A root and an evaluation outside every pool, which does not end while a file ``wait`` is there."""

    @dg.asset
    def raw(storage: StorageFolder) -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion((folder / "content").read_text()))

    @dg.asset(deps=[raw], automation_condition=on_upstream_change())
    def evaluation(storage: StorageFolder) -> None:
        (folder / "begun").touch()
        while (folder / "wait").exists():
            time.sleep(0.05)

    return dg.Definitions(
        assets=[raw, evaluation],
        resources={"storage": StorageFolder(folder=str(folder))},
        executor=dg.in_process_executor,
    )


def run(folder: Path, instance: dg.DagsterInstance, *assets: dg.AssetKey) -> None:
    job = shop(folder).resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance, asset_selection=list(assets))


def look(instance: dg.DagsterInstance, folder: Path) -> str:
    """What a tick of the sensor says."""
    with dg.build_sensor_context(
        instance, resources={"storage": StorageFolder(folder=str(folder))}
    ) as context:
        return str(dead_runs_sensor().evaluate_tick(context).skip_message)


def test_a_killed_evaluation_is_ended_and_asked_for_again(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        (tmp_path / "content").write_text("1")
        run(tmp_path, instance, RAW, EVALUATION)
        cursor = dg.evaluate_automation_conditions(shop(tmp_path), instance).cursor
        (tmp_path / "content").write_text("2")
        run(tmp_path, instance, RAW)
        (tmp_path / "begun").unlink()
        (tmp_path / "wait").touch()
        process = subprocess.Popen(
            [
                *(sys.executable, "-c"),
                "import sys, pathlib, dagster as dg; from tests.graph.sensors.test_dead_runs import EVALUATION, run; "
                "folder = pathlib.Path(sys.argv[1]); "
                "run(folder, dg.DagsterInstance.local_temp(str(folder)), EVALUATION)",
                str(tmp_path),
            ],
            cwd=Path(__file__).parents[3],
        )
        deadline = time.monotonic() + 600
        while not (tmp_path / "begun").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert look(instance, tmp_path) == "every run that is under way has its process"

        process.send_signal(signal.SIGKILL)
        # Not waited for: a process that has ended and that nobody waited for is gone as well.
        while _started(process.pid) is not None:
            time.sleep(0.02)
        asked = dg.evaluate_automation_conditions(shop(tmp_path), instance, cursor=cursor)
        assert asked.total_requested == 0
        graph = shop(tmp_path).resolve_asset_graph()
        assert stale_assets(instance, graph) == ([], {EVALUATION: "it is being made"})

        [record] = instance.get_run_records(limit=1)
        assert look(instance, tmp_path) == (
            f"run {record.dagster_run.run_id[:8]} failed: process {process.pid} is gone: it was killed, "
            "or the machine went down"
        )
        assert look(instance, tmp_path) == "every run that is under way has its process"
        asked = dg.evaluate_automation_conditions(shop(tmp_path), instance, cursor=asked.cursor)
        assert asked.get_num_requested(EVALUATION) == 1
        process.wait()
