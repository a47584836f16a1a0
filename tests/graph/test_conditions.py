"""The condition ``on_upstream_change``, driven with real materializations on a real instance."""

from __future__ import annotations

import logging
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._scheduler.scheduler import launch_scheduled_runs

from tests.graph.conftest import Trial


def test_a_cold_graph_waits_for_its_root_and_then_makes_itself(trial: Trial) -> None:
    assert trial.settle() == []
    trial.materialize("root")
    assert trial.settle() == ["features", "model", "report"]


def test_idle_ticks_ask_for_nothing(trial: Trial) -> None:
    trial.materialize("root", "features", "model", "report")
    trial.settle()
    assert [trial.tick() for _ in range(20)] == [[]] * 20


def test_a_root_made_again_with_equal_content_asks_for_nothing(trial: Trial) -> None:
    trial.materialize("root", "features", "model", "report")
    trial.settle()
    trial.materialize("root")
    assert trial.settle() == []


def test_a_changed_root_reaches_everything_below_and_stops_where_content_is_equal(trial: Trial) -> None:
    trial.materialize("root", "features", "model", "report")
    trial.settle()
    trial.content |= {"root": "2", "features": "2"}
    trial.materialize("root")
    assert trial.settle() == ["features", "model"]


def test_a_change_of_code_or_configuration_makes_that_asset_again(trial: Trial) -> None:
    trial.materialize("root", "features", "model", "report")
    trial.settle()
    trial.code["model"] = "2"
    trial.content["model"] = "2"
    assert trial.settle() == ["model", "report"]


def test_a_run_of_everything_by_hand_asks_for_nothing_more(trial: Trial) -> None:
    trial.materialize("root", "features", "model", "report")
    trial.settle()
    trial.content = dict.fromkeys(trial.content, "2")
    trial.materialize("root", "features", "model", "report")
    assert trial.settle() == []


def test_a_failed_asset_is_tried_once_more_and_then_left(trial: Trial) -> None:
    trial.materialize("root", "features", "model", "report")
    trial.settle()
    trial.failing.add("model")
    trial.content |= {"features": "2"}
    trial.materialize("features")
    assert trial.settle() == ["model", "model"]
    assert [trial.tick() for _ in range(5)] == [[]] * 5


def test_a_failed_asset_is_tried_again_when_its_dependency_changes(trial: Trial) -> None:
    trial.materialize("root", "features", "model", "report")
    trial.settle()
    trial.failing.add("model")
    trial.content["features"] = "2"
    trial.materialize("features")
    trial.settle()
    trial.failing.clear()
    trial.content |= {"features": "3", "model": "3"}
    trial.materialize("features")
    assert trial.settle() == ["model", "report"]


def test_a_failing_blocking_check_holds_what_is_below(trial: Trial) -> None:
    trial.materialize("root", "features", "model", "report")
    trial.settle()
    trial.failing_check = True
    trial.content["features"] = "2"
    trial.materialize("features")
    assert trial.settle() == []
    trial.failing_check = False
    trial.materialize("features")
    assert trial.settle() == ["model"]


def test_a_change_that_lands_right_after_the_asking_is_not_lost(trial: Trial) -> None:
    trial.materialize("root", "features", "model", "report")
    trial.settle()
    trial.content["features"] = "2"
    trial.materialize("features")
    assert trial.tick() == ["model"]
    # Before the asked-for run ends, and before the next tick, its dependency changes once more.
    trial.content["features"] = "3"
    trial.materialize("features")
    trial.materialize("model")
    assert trial.tick() == ["model"]


def test_ticks_missed_while_the_daemon_was_down_are_caught_up_once(tmp_path: Path) -> None:
    code = tmp_path / "shop_graph.py"
    code.write_text(
        textwrap.dedent(
            """\
            import dagster as dg
            from cir_assets.graph.schedules import refresh_schedule

            @dg.asset(key=["shop", "raw"])
            def raw(): ...

            schedule = refresh_schedule("shop", "0 3 * * *", "Europe/Rome", ["shop/raw"])
            defs = dg.Definitions(assets=[raw], schedules=[schedule])
            """
        )
    )
    origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file=str(code)))
    with (
        dg.DagsterInstance.local_temp(str(tmp_path)) as instance,
        WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as workspace,
    ):

        def scheduler_at(moment: datetime) -> int:
            """One round of the daemon's scheduler at a moment; how many runs there are after it."""
            with freeze_time(moment):
                list(launch_scheduled_runs(workspace, logging.getLogger("dagster"), moment, {}))
            return instance.get_runs_count()

        noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
        assert scheduler_at(noon) == 0
        assert scheduler_at(noon + timedelta(days=10)) == 1
        assert scheduler_at(noon + timedelta(days=10, minutes=1)) == 1
        [run] = instance.get_runs()
        assert run.tags["dagster/schedule_name"] == "shop_refresh"
        assert run.tags[".dagster/scheduled_execution_time"] == "2026-03-11T02:00:00+00:00", "three in Rome"
        assert scheduler_at(noon + timedelta(days=11)) == 2
