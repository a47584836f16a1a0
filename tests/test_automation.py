"""The condition ``on_upstream_change``, driven with real materializations on a real instance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pytest

from cir_assets.automation import on_upstream_change


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
            assets=[made(name, upstream) for name, upstream in zip(names, [None, *names[:-1]], strict=True)]
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
