"""How many cores this process was granted, which on a shared machine is fewer than the machine has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path, PurePosixPath


def granted_cores() -> int:
    """Cores this process may keep busy: those of the machine, of its affinity or of its containers' quota; at least 1.

    A quota of one and a half cores counts as two. More threads or processes than that only wait for one another.
    """
    own = Path("/proc/self")
    quota = granted_by_quota(_content(own / "cgroup"), _content(own / "mountinfo"), _content)
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return max(1, min(cores for cores in (os.cpu_count() or 1, affinity, quota) if cores is not None))


def wait_for_each_other_briefly() -> None:
    """Have the threads of one computation sleep soon when they wait for each other; to be said before torch is loaded.

    By themselves they keep their cores busy waiting. Where others want these cores too, that takes turns from the
    thread that is waited for: beside two busy processes on 2 cores a step of the embedded backbone's Combiner took
    143 to 292 ms, and 83 ms so, where it takes 42 ms alone, either way. Whoever set how threads wait is obeyed.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def granted_by_quota(membership: str, mounts: str, content: Callable[[Path], str]) -> int | None:
    """The least CPU quota among a process's control groups, in cores rounded up; None where there is none.

    A group is held to its own quota and to that of every group around it, as far as they are to be seen: a container
    sees its own group as the outermost.

    Args:
        membership: ``/proc/<pid>/cgroup``: a line a hierarchy, ``id:controllers:group``.
        mounts: ``/proc/<pid>/mountinfo``: where the hierarchies are mounted.
        content: of a file of theirs; empty where it cannot be read.

    Source: the kernel's ``admin-guide/cgroup-v2`` (``cpu.max``), ``scheduler/sched-bwc`` (``cpu.cfs_quota_us``) and
    ``filesystems/proc`` (``mountinfo``).
    """
    groups: dict[bool, str] = {}
    for line in membership.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" or "cpu" in controllers.split(","):
            groups[number == "0"] = group
    quotas: list[float] = []
    for unified, root, place in _hierarchies(mounts):
        if unified in groups:
            for folder in _folders(groups[unified], root, place):
                quota = _quota_2(folder, content) if unified else _quota_1(folder, content)
                quotas += [] if quota is None else [quota]
    return max(1, ceil(min(quotas))) if quotas else None


def _hierarchies(mounts: str) -> Iterator[tuple[bool, str, Path]]:
    """Hierarchies that may hold CPU quotas: whether it is the second version's, the mounted group, and where."""
    for line in mounts.splitlines():
        mount, _, system = line.partition(" - ")
        fields, kind = mount.split(), system.split()
        if len(fields) < 5 or not kind:
            continue
        if kind[0] == "cgroup2" or (kind[0] == "cgroup" and "cpu" in kind[-1].split(",")):
            yield kind[0] == "cgroup2", fields[3], Path(fields[4])


def _folders(group: str, root: str, place: Path) -> Iterator[Path]:
    """The folders of a group and of those around it, up to the mounted one."""
    try:
        below = PurePosixPath(group).relative_to(root)
    except ValueError:
        # The mount is of another container's making; it shows this process's group, or one around it, as its top.
        below = PurePosixPath()
    if ".." in below.parts:
        below = PurePosixPath()
    yield place / below
    for around in below.parents:
        yield place / around


def _quota_2(folder: Path, content: Callable[[Path], str]) -> float | None:
    return _cores(*[*content(folder / "cpu.max").split(), "", ""][:2])


def _quota_1(folder: Path, content: Callable[[Path], str]) -> float | None:
    return _cores(content(folder / "cpu.cfs_quota_us"), content(folder / "cpu.cfs_period_us"))


def _cores(quota: str, period: str) -> float | None:
    """Microseconds of work in a period, as cores; None for ``max``, -1, and what is no number."""
    try:
        work, span = int(quota), int(period)
    except ValueError:
        return None
    return work / span if work > 0 and span > 0 else None


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
