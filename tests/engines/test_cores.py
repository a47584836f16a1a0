"""A process keeps no more cores busy than it was granted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cir_assets.engines import cores
from cir_assets.engines.cores import granted_by_quota, granted_cores, wait_for_each_other_briefly
from cir_assets.models import backbone
from cir_assets.models.backbone import Backbone
from cir_assets.models.installation import EMBEDDED
from cir_assets.store.database import open_database

PROJECT = Path(__file__).parents[2]

DOCKER_2 = (
    "0::/\n",
    "29 22 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n",
)
"""Docker under the second version: the container sees its own group as the outermost."""

SYSTEMD_2 = (
    "0::/system.slice/cir-assets.service\n",
    "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "31 24 0:27 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
)
"""A systemd unit, in a slice that may have a quota of its own."""

DOCKER_1 = (
    "12:memory:/docker/4f2a\n4:cpu,cpuacct:/docker/4f2a\n3:cpuset:/docker/4f2a\n1:name=systemd:/docker/4f2a\n0::/system.slice\n",
    "691 690 0:31 /docker/4f2a /sys/fs/cgroup/cpu,cpuacct ro,nosuid master:15 - cgroup cgroup rw,cpu,cpuacct\n"
    "692 690 0:32 /docker/4f2a /sys/fs/cgroup/cpuset ro,nosuid master:16 - cgroup cgroup rw,cpuset\n"
    "693 690 0:33 /docker/4f2a /sys/fs/cgroup/memory ro,nosuid master:17 - cgroup cgroup rw,memory\n",
)
"""Docker under the first version: the group is named from the machine's root, and mounted as the outermost."""

BESIDE_2 = (
    "4:cpu,cpuacct:/\n0::/user.slice\n",
    "30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    "31 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n",
)
"""Both versions at once, as on machines in between."""

TOP = "/sys/fs/cgroup"


@pytest.mark.parametrize(
    ("process", "files", "granted"),
    [
        (DOCKER_2, {f"{TOP}/cpu.max": "max 100000\n"}, None),
        (DOCKER_2, {f"{TOP}/cpu.max": "200000 100000\n"}, 2),
        (DOCKER_2, {f"{TOP}/cpu.max": "150000 100000\n"}, 2),
        (DOCKER_2, {f"{TOP}/cpu.max": "25000 100000\n"}, 1),
        (DOCKER_2, {f"{TOP}/cpu.max": "400000\n"}, None),
        (DOCKER_2, {f"{TOP}/cpu.max": ""}, None),
        (DOCKER_2, {}, None),
        (SYSTEMD_2, {f"{TOP}/system.slice/cir-assets.service/cpu.max": "300000 100000\n"}, 3),
        (
            SYSTEMD_2,
            {
                f"{TOP}/system.slice/cir-assets.service/cpu.max": "max 100000\n",
                f"{TOP}/system.slice/cpu.max": "800000 200000\n",
            },
            4,
        ),
        (
            SYSTEMD_2,
            {
                f"{TOP}/system.slice/cir-assets.service/cpu.max": "600000 100000\n",
                f"{TOP}/system.slice/cpu.max": "200000 100000\n",
            },
            2,
        ),
        (
            DOCKER_1,
            {
                f"{TOP}/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
                f"{TOP}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            2,
        ),
        (
            DOCKER_1,
            {
                f"{TOP}/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                f"{TOP}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        (DOCKER_1, {f"{TOP}/cpu,cpuacct/cpu.cfs_quota_us": "200000\n"}, None),
        (
            BESIDE_2,
            {f"{TOP}/cpu/cpu.cfs_quota_us": "350000\n", f"{TOP}/cpu/cpu.cfs_period_us": "100000\n"},
            4,
        ),
        # Its own group lies outside of what is mounted: what is mounted is what holds it.
        (("0::/../../other\n", DOCKER_2[1]), {f"{TOP}/cpu.max": "100000 100000\n"}, 1),
        (("0::/elsewhere\n", DOCKER_2[1].replace(" / ", " /docker/77 ", 1)), {f"{TOP}/cpu.max": "1 1"}, 1),
        (("", ""), {}, None),
    ],
)
def test_the_quota_of_a_container_is_read(
    process: tuple[str, str], files: dict[str, str], granted: int | None
) -> None:
    assert granted_by_quota(*process, lambda file: files.get(str(file), "")) == granted


@settings(derandomize=True, deadline=None)
@given(
    st.lists(st.none() | st.integers(1, 10**8), min_size=1, max_size=6),
    st.integers(1_000, 1_000_000),
)
def test_of_groups_in_groups_the_tightest_holds(quotas: list[int | None], period: int) -> None:
    path, files = Path(TOP), {}
    for depth, quota in enumerate(quotas):
        path = path / f"group-{depth}" if depth else path
        files[path / "cpu.max"] = f"{'max' if quota is None else quota} {period}\n"
    group = "/" + "/".join(path.relative_to(TOP).parts)
    granted = granted_by_quota(f"0::{group}\n", DOCKER_2[1], lambda file: files.get(file, ""))
    numbers = [quota for quota in quotas if quota is not None]
    if granted is None:
        assert not numbers
    else:
        assert granted >= 1
        assert (granted - 1) * period < min(numbers) <= granted * period


@settings(derandomize=True, deadline=None)
@given(st.text(), st.text(), st.text())
def test_whatever_these_files_hold_is_no_reason_to_stop(membership: str, mounts: str, content: str) -> None:
    for process in ((membership, mounts), (membership, DOCKER_2[1]), (DOCKER_1[0], DOCKER_1[1] + mounts)):
        granted = granted_by_quota(*process, lambda file: content)
        assert granted is None or granted >= 1


def test_what_is_granted_is_at_most_what_the_machine_has() -> None:
    assert 1 <= granted_cores() <= (os.cpu_count() or 1)


def test_a_quota_holds_the_network_and_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "granted_by_quota", lambda *_: 1)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        Backbone.load(EMBEDDED / "tiny_clip")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    with open_database(tmp_path / "some.duckdb") as connection:
        assert connection.sql("SELECT current_setting('threads')").fetchall() == [(1,)]


def test_fewer_threads_than_granted_stay_as_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone, "granted_cores", lambda: 64)
    threads = torch.get_num_threads()
    Backbone.load(EMBEDDED / "tiny_clip")
    assert torch.get_num_threads() == threads


ON_ONE_CORE = """
import json, os, sys
from pathlib import Path
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import polars, torch
from cir_assets.components.specification import DatasetSpec
from cir_assets.engines.cores import granted_cores
from cir_assets.models.backbone import Backbone
from cir_assets.models.installation import EMBEDDED
from cir_assets.store.database import open_database
Backbone.load(EMBEDDED / "tiny_clip")
with open_database(Path(sys.argv[1])) as connection:
    [(duckdb,)] = connection.sql("SELECT current_setting('threads')").fetchall()
catalogue = {"kind": "catalogue", "pictures": "."}
print(json.dumps({
    "granted": granted_cores(),
    "torch": torch.get_num_threads(),
    "duckdb": duckdb,
    "polars": polars.thread_pool_size(),
    "decoding": DatasetSpec.model_validate({"source": catalogue, "backbones": ["tiny_clip"]}).decoding_workers,
}))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there is no affinity on this system")
def test_a_process_held_to_one_core_uses_one_of_everything(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", ON_ONE_CORE, str(tmp_path / "some.duckdb")],
        cwd=PROJECT,
        env={name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(said.stdout.splitlines()[-1])
    assert found == dict.fromkeys(("granted", "torch", "duckdb", "polars", "decoding"), 1)


def test_nobody_asks_for_the_machines_cores() -> None:
    asking = re.compile(r"cpu_count|ThreadPoolExecutor\(\)|ProcessPoolExecutor\(\)")
    files = [*(PROJECT / "cir_assets").rglob("*.py"), *(PROJECT / "benchmarks").rglob("*.py")]
    found = {file.stem for file in files if asking.search(file.read_text(encoding="utf-8"))}
    assert found == {"cores"}


@pytest.mark.parametrize(
    ("said", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
    ids=["nothing said", "another number said", "a policy said"],
)
def test_threads_sleep_soon_when_they_wait_unless_somebody_said_how(
    said: dict[str, str], spins: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    wait_for_each_other_briefly()
    assert os.environ.get("GOMP_SPINCOUNT") == spins
