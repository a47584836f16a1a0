"""Once an hour what is stale is asked for, but for what failed, is being made or is held back."""

from __future__ import annotations

import pytest

from tests.graph.conftest import Trial


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
