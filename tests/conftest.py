"""Fixtures every room's tests may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tests.trial_project import TrialProject

# As many processes as cores run the tests; each computes on one, and so always in the same order.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared"


LONGEST = (
    "tests/test_daemon.py",
    "tests/graph/test_killed_runs.py",
    "tests/test_changes.py",
    "tests/graph/test_champion.py",
)
SLOW = (*LONGEST, "tests/graph/", "tests/test_lost_changes.py")
"""Whole graphs, real processes and a browser; what is quick to fail runs before them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first; then the longest files, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: (item.nodeid.startswith(SLOW), not item.nodeid.startswith(LONGEST)))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared test material beside the project; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no folder {SHARED.name}/ beside the project: it holds real annotations and pictures")
    return SHARED


@pytest.fixture(scope="session")
def parity() -> Path:
    """What the reference implementation outputs on given inputs; its README.md says how it was made."""
    return Path(__file__).parent / "parity"


@pytest.fixture(scope="session")
def real_data(shared: Path) -> Path:
    """Real annotation files and pictures."""
    folder = shared / "data"
    if not folder.is_dir():
        pytest.skip("shared/data is absent: it holds real annotation files and pictures")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> TrialProject:
    """An empty project of one's own, with the embedded backbone defined."""
    return TrialProject(tmp_path / "project")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A real Dagster instance, in memory."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made
