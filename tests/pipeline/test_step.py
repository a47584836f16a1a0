"""The same work is done once, and again when what it was made from, its code or what it made is another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cir_assets.pipeline.step import Plan, Step, Work, run
from cir_assets.store.layout import Storage
from cir_assets.store.made import Made


class Trial:
    """A step that copies ``content`` into a file, and counts how often it did."""

    def __init__(self, folder: Path) -> None:
        self.work = Work(Storage(folder), say=lambda _: None)
        self.file = folder / "made.txt"
        self.content, self.times = "1", 0
        self.step = Step("shop/images", 1, self.plan)

    def plan(self, work: Work) -> Plan:
        return Plan({"shop/raw": self.content}, self.make)

    def make(self, version: str) -> Made:
        self.times += 1
        self.file.write_text(self.content)
        return Made(f"v{self.content}", {"made": self.times}, {}, files=[self.file], unworked={"made": 0})


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def test_what_was_made_is_taken_again_with_no_work_told(trial: Trial) -> None:
    assert run(trial.step, trial.work)[1] is False
    made, reused = run(trial.step, trial.work)
    assert (made.data_version, made.metadata["made"], reused, trial.times) == ("v1", 0, True, 1)


def test_other_inputs_code_configuration_or_a_damaged_file_make_it_again(trial: Trial) -> None:
    run(trial.step, trial.work)
    trial.content = "2"
    assert run(trial.step, trial.work)[0].data_version == "v2"
    for step in (replace(trial.step, generation=2), replace(trial.step, configuration={"epochs": 3})):
        assert run(step, trial.work)[1] is False
        assert run(step, trial.work)[1] is True
    trial.file.write_text("3")
    assert run(step, trial.work)[1] is False
    trial.file.unlink()
    assert run(step, trial.work)[1] is False


def test_a_step_that_keeps_versions_takes_an_older_one_again(trial: Trial) -> None:
    kept = replace(trial.step, keeps_versions=True)
    run(kept, trial.work)
    trial.content = "2"
    run(kept, trial.work)
    trial.file.write_text("1")
    trial.content = "1"
    assert run(kept, trial.work)[1] is True
    assert trial.times == 2


def test_a_root_looks_each_time_and_says_whether_it_saw_something_new(trial: Trial) -> None:
    root = replace(trial.step, looks_each_time=True)
    assert [run(root, trial.work)[1] for _ in range(2)] == [False, True]
    trial.content = "2"
    assert run(root, trial.work)[1] is False
    assert trial.times == 3


def test_what_was_left_for_another_time_is_made_again(trial: Trial) -> None:
    partly = replace(
        trial.step, plan=lambda work: Plan({}, lambda version: replace(trial.make(version), complete=False))
    )
    assert [run(partly, trial.work)[1] for _ in range(2)] == [False, False]
