"""The condition ``on_upstream_change``, driven with real materializations on a real instance."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._scheduler.scheduler import launch_scheduled_runs

from cir_assets.graph.conditions import on_upstream_change
from cir_assets.graph.sensors.stale_sweep import stale_sweep_sensor


@dataclass
class Trial:
    """A chain root -> features -> model -> report whose contents a test sets, and a daemon's ticks."""

    instance: dg.DagsterInstance
    content: dict[str, str] = field(
        default_factory=lambda: dict.fromkeys(["root", "features", "model", "report"], "1")
    )
    failing: set[str] = field(default_factory=set)
    failing_check: bool = False
    code: dict[str, str] = field(default_factory=lambda: {"model": "1"})
    cursor: Any = None

    def definitions(self) -> dg.Definitions:
        def made(name: str, upstream: str | None) -> dg.AssetsDefinition:
            @dg.asset(
                name=name,
                deps=[upstream] if upstream else [],
                code_version=self.code.get(name),
                automation_condition=on_upstream_change() if upstream else None,
                check_specs=[dg.AssetCheckSpec("sound", asset=name, blocking=True)],
            )
            def body() -> dg.MaterializeResult:
                if name in self.failing:
                    raise RuntimeError("out of memory")
                sound = not (name == "features" and self.failing_check)
                return dg.MaterializeResult(
                    data_version=dg.DataVersion(self.content[name]),
                    check_results=[dg.AssetCheckResult(check_name="sound", passed=sound)],
                )

            return body

        names = ["root", "features", "model", "report"]
        return dg.Definitions(
            assets=[made(name, upstream) for name, upstream in zip(names, [None, *names[:-1]], strict=True)],
            sensors=[stale_sweep_sensor()],
        )

    def materialize(self, *names: str) -> None:
        # As the UI, the command line and the daemon do: one run that names the assets it makes.
        self.definitions().resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in names],
            raise_on_error=False,
        )

    def tick(self) -> list[str]:
        """One evaluation of the sensor; what it asks for."""
        result = dg.evaluate_automation_conditions(self.definitions(), self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        return sorted(
            r.key.to_user_string()
            for r in result.results
            if not r.true_subset.is_empty and isinstance(r.key, dg.AssetKey)
        )

    def begin(self, name: str) -> dg.DagsterRun:
        """A run of one asset that is asked for and has not ended."""
        key = dg.AssetKey(name)
        job = self.definitions().resolve_implicit_global_asset_job_def().get_subset(asset_selection={key})
        return self.instance.create_run_for_job(job, asset_selection=frozenset({key}))

    def sweep(self) -> tuple[list[str], str]:
        """One tick of the sweep: what it asks for, and why it did or did not."""
        definitions = self.definitions()
        with dg.build_sensor_context(self.instance, definitions=definitions) as context:
            said = definitions.resolve_sensor_def("stale_sweep").evaluate_tick(context)
        if not said.run_requests:
            return [], str(said.skip_message)
        [request] = said.run_requests
        return sorted(key.to_user_string() for key in request.asset_selection or []), request.tags["because"]

    def settle(self, limit: int = 12) -> list[str]:
        """Tick and run what is asked for until nothing is; everything that ran, in order."""
        ran: list[str] = []
        for _ in range(limit):
            asked = self.tick()
            if not asked:
                return ran
            self.materialize(*asked)
            ran += asked
        raise AssertionError(f"still asking after {limit} ticks: {ran}")


@pytest.fixture
def trial() -> Iterator[Trial]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Trial(instance)


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


def test_the_sweep_asks_for_what_is_stale_and_is_silent_once_that_is_made(trial: Trial) -> None:
    trial.materialize("root", "features", "model", "report")
    assert trial.sweep() == ([], "nothing is stale and free to be made")
    trial.code["model"] = "2"
    trial.content["model"] = "2"
    assert trial.sweep() == (["model"], "stale: model")
    trial.materialize("model")
    assert trial.sweep() == (["report"], "stale: report")
    trial.materialize("report")
    assert [trial.sweep() for _ in range(3)] == [([], "nothing is stale and free to be made")] * 3


def test_the_sweep_leaves_what_failed_to_a_person(trial: Trial) -> None:
    trial.materialize("root", "features", "model", "report")
    trial.code["model"] = "2"
    trial.failing.add("model")
    trial.materialize("model")
    assert trial.sweep() == (
        [],
        "nothing is stale and free to be made; left alone: model (its last run failed)",
    )


@pytest.mark.parametrize(
    ("made", "why"),
    [("model", "it is being made"), ("features", "features, which it is made from, is being made")],
)
def test_the_sweep_waits_for_a_run_that_makes_an_asset_or_what_it_is_made_from(
    trial: Trial, made: str, why: str
) -> None:
    trial.materialize("root", "features", "model", "report")
    trial.code["model"] = "2"
    run = trial.begin(made)
    assert trial.sweep() == ([], f"nothing is stale and free to be made; left alone: model ({why})")
    trial.instance.report_run_canceled(run)
    assert trial.sweep() == (["model"], "stale: model")


def test_the_sweep_leaves_what_is_below_a_failing_blocking_check(trial: Trial) -> None:
    trial.materialize("root", "features", "model", "report")
    trial.failing_check = True
    trial.content["features"] = "2"
    trial.materialize("features")
    asked, why = trial.sweep()
    assert asked == []
    assert why.endswith("model (the blocking check sound of features fails)")


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
