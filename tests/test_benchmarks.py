"""The benchmarks run, and what they print and write hangs together; how fast things are is not tested."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measuring import Measured, Timing, growth
from benchmarks.page import page
from tests.trial_project import PROJECT


def measured(amount: float, seconds: float) -> Measured:
    return Measured("thing", f"{amount}", amount, Timing.of([seconds]), 1.0, "a second")


def test_growth_is_the_exponent_of_time_over_size() -> None:
    points = [measured(amount, 3 * amount**0.5) for amount in (10, 100, 1000)]
    assert growth(points) == {"thing": pytest.approx(0.5)}
    assert growth(points[:2]) == {}


def test_a_quick_run_prints_a_table_and_writes_what_it_measured_on(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "benchmarks.json"
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks",
            "--quick",
            "--only",
            "ranking",
            "--device",
            "cpu",
            "--out",
            str(out),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "whole sort, names compared" in " ".join(ran.stdout.split())
    found = json.loads(out.read_text())
    assert {"processor", "torch", "ceiling"} <= found["machine"].keys()
    rows = found["benchmarks"]["ranking"]["measured"]
    assert len(rows) == 10
    for row in rows:
        assert row["time"]["least"] <= row["time"]["median"] <= row["time"]["most"]
        assert row["floor"] > 0
        assert math.isfinite(row["rival_time"]["median"])
    assert page(found).count("whole sort, names compared") == 8
