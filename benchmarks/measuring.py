"""How everything here is measured: in turn with its rival, against a floor, at several sizes."""

from __future__ import annotations

import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch
from rich.table import Table

from cir_assets.engines.cores import granted_cores

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Scale:
    """How much is measured, and where."""

    quick: bool
    device: str

    def repeats(self, full: int = 5) -> int:
        """Timings that are taken of one thing."""
        return min(full, 2) if self.quick else full

    def sizes(self, *sizes: int) -> tuple[int, ...]:
        """All sizes, or all but the largest."""
        return sizes[:-1] if self.quick and len(sizes) > 1 else sizes


@dataclass(frozen=True)
class Timing:
    """Seconds: the median of some repeats, the least and the most."""

    median: float
    least: float
    most: float
    repeats: int

    @staticmethod
    def of(seconds: Sequence[float]) -> Timing:
        """Sum up single timings."""
        return Timing(statistics.median(seconds), min(seconds), max(seconds), len(seconds))


@dataclass(frozen=True)
class Measured:
    """One thing at one size.

    Attributes:
        what: the thing; sizes of one thing share it.
        size: in words.
        amount: the number that grows from size to size; growth is fitted over it.
        time: how long it took.
        floor: seconds the machine needs at the least, and ``floor_is`` what that counts.
        rival: what else was timed in turn with it, and ``rival_time`` how long that took.
        goal: what must be reached, in words; ``reached`` is None where this size or machine does not decide it.
        figures: further numbers, by name with their unit.
    """

    what: str
    size: str
    amount: float
    time: Timing
    floor: float
    floor_is: str
    rival: str = ""
    rival_time: Timing | None = None
    goal: str = ""
    reached: bool | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


def in_turn(
    actions: Mapping[str, Callable[[], object]], repeats: int, device: str = "cpu"
) -> dict[str, Timing]:
    """Time several things in turn, A B A B, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(repeats + 1):
        for name, action in actions.items():
            finish(device)
            started = time.perf_counter()
            action()
            finish(device)
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: Timing.of(each) for name, each in seconds.items()}


def once(action: Callable[[], object], device: str = "cpu") -> Timing:
    """Time what takes too long, or changes too much, to be repeated."""
    finish(device)
    started = time.perf_counter()
    action()
    finish(device)
    return Timing.of([time.perf_counter() - started])


def finish(device: str) -> None:
    """Wait until the device has done what it was asked."""
    if device == "cuda":
        torch.cuda.synchronize()


@cache
def operations_per_second(device: str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """The matrix-product ceiling: the best of some products of 2,048 (CPU) or 8,192 (GPU) squared."""
    left, right = _two_squares(device, dtype)
    best = in_turn({"product": lambda: left @ right}, 10, device)["product"].least
    return 2 * len(left) ** 3 / best


def _two_squares(device: str, dtype: torch.dtype) -> list[torch.Tensor]:
    side = 8192 if device == "cuda" else 2048
    return [torch.randn(side, side, device=device, dtype=dtype) for _ in range(2)]


class Ceiling:
    """The matrix-product ceiling that lasts: as many operations as something takes, to be timed by ``in_turn`` with it.

    A single product at its best is up to a fifth quicker than the same machine is over the seconds a step takes.
    """

    def __init__(self, operations: float, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self._left, self._right = _two_squares(device, dtype)
        self._operations, self._each = operations, 2 * len(self._left) ** 3
        self._products = max(10, round(operations / self._each))

    def __call__(self) -> None:
        """Products of squares, at least ten."""
        for _ in range(self._products):
            self._left @ self._right

    def seconds(self, timed: Timing) -> float:
        """What the operations take at the ceiling, as it was timed."""
        return timed.median * self._operations / (self._products * self._each)


@cache
def bytes_per_second(device: str = "cpu") -> float:
    """The reading ceiling: the best of some sums over 512 MiB."""
    values = torch.ones(1 << 27, device=device)
    return 4 * len(values) / in_turn({"sum": lambda: values.sum()}, 8, device)["sum"].least


def apart(
    action: Callable[_Arguments, _Result], *arguments: _Arguments.args, **named: _Arguments.kwargs
) -> _Result:
    """What a function gives in a fresh process, whose memory nothing else has touched."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(action, *arguments, **named).result()


def memory_peak_above_now(action: Callable[[], object]) -> float:
    """Megabytes this process held at most while something ran, over what it held before."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    action()
    return _status("VmHWM") - before


def flat_memory(peak: float, smallest: float) -> bool:
    """Whether a peak, in megabytes, exceeds that of the smallest size by less than a quarter and 64 MB."""
    return peak < 1.25 * smallest + 64


def _status(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return math.nan


def growth(measured: Sequence[Measured]) -> dict[str, float]:
    """The exponent of each thing's time over its amount, fitted by least squares in logarithms."""
    exponents = {}
    for what in dict.fromkeys(each.what for each in measured):
        points = [(math.log(e.amount), math.log(e.time.median)) for e in measured if e.what == what]
        if len({x for x, _ in points}) > 2:
            exponents[what] = statistics.linear_regression(*zip(*points, strict=True)).slope
    return exponents


def proportional(exponent: float) -> str:
    """Whether time grows no faster than the size; three sizes on a shared machine fit to a few hundredths."""
    return "no more than proportional" if exponent <= 1.05 else "more than proportional"


def table(title: str, measured: Sequence[Measured]) -> Table:
    """What was measured, as people read it."""
    shown = Table(title=title, title_justify="left", title_style="bold", show_lines=True)
    for column in ("what", "size", "time", "floor", "÷ floor", "beside it", "goal", "further"):
        shown.add_column(column)
    for each in measured:
        rival = ""
        if each.rival_time is not None:
            share = each.time.median / each.rival_time.median
            rival = f"{each.rival}: {seconds(each.rival_time.median)}, ours {share:.2f} × it"
        verdict = {None: "", True: "reached: ", False: "missed: "}[each.reached]
        shown.add_row(
            each.what,
            each.size,
            f"{seconds(each.time.median)}\n{seconds(each.time.least)} – {seconds(each.time.most)}, {each.time.repeats}",
            f"{seconds(each.floor)}\n{each.floor_is}",
            f"{each.time.median / each.floor:.2f}",
            rival,
            verdict + each.goal,
            "\n".join(f"{name} {value:,.3g}" for name, value in each.figures.items()),
        )
    return shown


def seconds(value: float) -> str:
    """A time with a fitting unit."""
    if value >= 100:
        return f"{value:,.0f} s"
    return (
        f"{value:.3g} s"
        if value >= 1
        else f"{1000 * value:.3g} ms"
        if value >= 1e-3
        else f"{1e6 * value:.3g} µs"
    )


def machine(device: str) -> dict[str, str]:
    """What it was measured on."""
    models = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": f"{models[0] if models else platform.processor()}, {granted_cores()} cores",
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": f"{torch.__version__}, {torch.get_num_threads()} threads",
        "ceiling": f"{operations_per_second(device) / 1e9:,.0f} Gflop/s in float32, "
        f"{bytes_per_second(device) / 1e9:,.1f} GB/s read",
    }


def as_json(found: Mapping[str, Sequence[Measured]], device: str) -> str:
    """Everything measured, with the machine."""
    return json.dumps(
        {
            "machine": machine(device),
            "benchmarks": {
                name: {"measured": [asdict(each) for each in measured], "growth": growth(measured)}
                for name, measured in found.items()
            },
        },
        indent=2,
    )
