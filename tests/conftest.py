"""Fixtures every room's tests may use."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import pytest

from tests.trial_project import TrialProject

# As many processes as cores run the tests; each computes on one, and so always in the same order.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared"


LONGEST = (
    "tests/test_daemon.py",
    "tests/graph/test_whole_graph.py",
    "tests/test_changes.py",
    "tests/graph/test_real_annotations.py",
    "tests/pipeline/test_judging.py",
    "tests/graph/test_killed_runs.py",
    "tests/pipeline/test_checkpoints.py",
    "tests/pipeline/test_training.py",
    "tests/pipeline/test_holding.py",
    "tests/test_moved_storage.py",
    "tests/test_lost_changes.py",
    "tests/graph/sensors/test_catalogue_files.py",
    "tests/training/test_resuming.py",
)
"""Files of most seconds, the longest first."""

SLOW = (
    *LONGEST,
    "tests/components/test_scaffolding.py::test_an_asset_is_launched",
    "tests/graph/",
    *(
        f"tests/pipeline/test_{each}.py"
        for each in ("backbones", "encoding", "searching", "source", "tables")
    ),
    "tests/pipeline/test_whole.py",
    "tests/models/test_hub.py",
    "tests/models/test_open_clip_network.py::test_both_stages_run_on_it_through_the_graph",
    "tests/serving/test_behind_a_proxy.py",
    "tests/serving/test_server.py::test_it_ends_when_told_to",
    "tests/engines/test_cores.py::test_a_process_held_to_one_core",
    "tests/pictures/test_fuzzing.py",
    "tests/datasets/catalogue/test_whatever_it_holds.py",
    "tests/models/test_files.py::test_any_damage",
    "tests/training/test_precision.py::test_bfloat16_ends",
    "tests/training/test_tiny_clip.py::test_a_pretraining_broken_off",
    "tests/test_benchmarks.py",
    *(f"tests/command_line/test_{each}.py" for each in ("evaluations", "reigning", "searching", "serving")),
    "tests/command_line/test_group.py::test_a_command_whose_reader",
    "tests/command_line/test_materializing.py::test_the_causes",
    "tests/test_definitions.py::test_a_d",
    "tests/starting/test_project.py::test_two_code_locations",
    "tests/models/test_onnx.py",
    "tests/sharing/test_command.py::test_it_goes_to_the_hub",
    "tests/test_wheel.py",
    "tests/datasets/test_dataset_source.py",
    "tests/serving/test_server.py::test_two_processes",
)
"""Whole graphs, real processes, trainings and thousands of inputs at random, by how a test's name begins; with
BROWSERS, what is left out of test-quick."""

BROWSERS = {"browser", "pages"}
"""Fixtures that start one."""


def is_slow(item: pytest.Item) -> bool:
    """Whether ``make test-quick`` leaves a test to ``make test``; nothing else says so."""
    fixtures: Sequence[str] = getattr(item, "fixturenames", ())
    return item.nodeid.startswith(SLOW) or not BROWSERS.isdisjoint(fixtures)


def place(item: pytest.Item) -> int:
    """Where a test stands: the longest files first, so that short ones fill up the end, then what else is slow."""
    longest = (number for number, file in enumerate(LONGEST) if item.nodeid.startswith(file))
    return next(longest, len(LONGEST) + (not item.nodeid.startswith(SLOW)))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow ones, and put all in the order in which test processes take their files."""
    for item in filter(is_slow, items):
        item.add_marker("slow")
    items.sort(key=place)


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: one of them always waits, for a daemon, a run or a browser."""
    return (os.cpu_count() or 1) + 1


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


@pytest.fixture(scope="session", autouse=True)
def _wardrobes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The session's test processes share their wardrobes: drawing a thousand pictures takes ten seconds."""
    own = tmp_path_factory.getbasetemp()
    TrialProject.wardrobes = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "wardrobes"


@pytest.fixture
def project(tmp_path: Path) -> TrialProject:
    """An empty project of one's own, with the embedded backbone defined."""
    return TrialProject(tmp_path / "project")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A real Dagster instance, in memory."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made
