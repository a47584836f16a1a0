"""Nothing begins where it could not end, and a run that failed says why."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import dagster as dg
import pytest

from cir_assets.command_line import materializing
from tests.command_line.conftest import ran
from tests.trial_project import PROJECT


@pytest.mark.parametrize(
    "command",
    [
        ["demo"],
        ["run", "shop"],
        ["ladder"],
        ["leaderboard"],
        ["compare", "a", "b"],
        ["sql", "SELECT 1"],
        ["search", "--reference", "a", "--text", "b"],
        ["serve"],
        ["ui"],
        ["status"],
        ["rollback", "a/b/c"],
    ],
    ids=lambda command: command[0],
)
def test_in_a_wrong_folder_every_command_says_the_same(
    command: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(home / "nowhere"))
    absent = ran(*command)
    assert absent.exit_code == 1
    assert absent.output == (
        f"Error: there is no storage folder {home / 'nowhere'}: run this in the project's folder, or set DAGSTER_HOME "
        "to it\n"
    )


def test_the_causes_of_a_failed_run_are_its_last_lines(home: Path) -> None:
    @dg.asset(key=["shop", "raw"])
    def raw() -> None:
        try:
            raise ValueError("line 7: no picture called ghost.jpg; mend it there")
        except ValueError as error:
            raise dg.Failure("shop/raw could not be read") from error

    @dg.asset(key=["shop", "images"])
    def images() -> None:
        try:
            raise KeyError("path")
        except KeyError as error:
            raise RuntimeError("the table is damaged") from error

    shutil.copy(PROJECT / "storage" / "dagster.yaml", home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        result = dg.materialize([raw, images], instance=instance, raise_on_error=False)
    log = [
        f"2026-03-01 12:00:00 +0000 - dagster - DEBUG - __ASSET_JOB - {result.run_id} - 1 - RUN_START - Started"
    ]
    assert materializing.why_it_failed(log) == (
        "the run failed:\nshop/images: RuntimeError: the table is damaged\nshop/raw: shop/raw could not be read"
    )
    assert materializing.why_it_failed(["Traceback", "ValueError: no such module"]) == (
        "nothing was made: ValueError: no such module"
    )


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
def test_a_folder_that_takes_no_file_is_told_before_anything_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    # In here nobody creates a file, whoever they are.
    monkeypatch.setenv("DAGSTER_HOME", "/proc/self")
    result = ran("demo")
    assert result.exit_code == 1
    assert re.fullmatch(
        r"Error: nothing can be written to the storage folder /proc/self \([^)]+\): free space on its disk, let this "
        r"user write there, or set DAGSTER_HOME to another folder\n",
        result.output,
    )
