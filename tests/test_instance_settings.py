"""The committed ``.env`` and ``storage/dagster.yaml``: Dagster finds its folder everywhere, and forgets old looks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickStatus

from tests.trial_project import PROJECT, TrialProject


@pytest.fixture
def project(tmp_path: Path) -> TrialProject:
    """A trial with the committed ``.env``, in a folder with a blank in its name."""
    made = TrialProject(tmp_path / "my project")
    shutil.copy(PROJECT / ".env", made.folder)
    return made


def instance_info(project: TrialProject, **environment: str) -> str:
    """What ``dagster instance info`` prints in a project's folder, where no more is set than this."""
    said = subprocess.run(
        [str(Path(sys.executable).with_name("dagster")), "instance", "info"],
        cwd=project.folder,
        env={"PATH": os.environ["PATH"], "HOME": str(project.folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    return said.stdout


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="this system has no /proc")
def test_the_storage_is_found_where_nobody_set_the_working_folders_name(project: TrialProject) -> None:
    """As services and ``env -i`` start a process; what Dagster writes shows which folder it took."""
    assert "run_monitoring:" in instance_info(project)
    assert (project.storage.root / "schedules").is_dir() or (project.storage.root / "history").is_dir()


def test_where_a_shell_set_it_the_storage_has_its_full_name(project: TrialProject) -> None:
    said = instance_info(project, PWD=str(project.folder))
    assert f"$DAGSTER_HOME: {project.storage.root}\n" in said


@pytest.mark.parametrize(
    "kind", [InstigatorType.SENSOR, InstigatorType.AUTO_MATERIALIZE, InstigatorType.SCHEDULE]
)
def test_looks_of_every_kind_are_forgotten_after_a_time(tmp_path: Path, kind: InstigatorType) -> None:
    shutil.copy(PROJECT / "storage" / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        days = instance.get_tick_retention_settings(kind)
    assert days == {
        TickStatus.SKIPPED: 2,
        TickStatus.STARTED: 2,
        TickStatus.SUCCESS: 30,
        TickStatus.FAILURE: 30,
    }
