"""Memory freed by one step is there for the next, and the system's again after the training."""

from __future__ import annotations

import ctypes
import resource
import subprocess
import sys
from pathlib import Path

import pytest

GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")

STEPS = """
import resource, torch
from cir_assets.training.memory import freed_memory_kept

def pages_found(steps):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        torch.ones(100, 1 << 18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmRSS")]
    return int(line.split()[1]) // 1024

pages_found(1)
outside = pages_found(5)
with freed_memory_kept():
    pages_found(20)
    within = pages_found(5)
    kept = held()
print(outside, within, kept, held())
"""


@pytest.mark.skipif(not GLIBC, reason="another C library than glibc keeps or returns memory in its own way")
def test_a_step_finds_the_memory_of_the_step_before_and_nothing_is_kept_afterwards() -> None:
    # A process of its own: what a C library does with memory depends on all that was taken before.
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", STEPS], capture_output=True, text=True, check=True, cwd=root
    )
    outside, within, kept, afterwards = (int(number) for number in ended.stdout.split())
    pages = 5 * 100 * (1 << 20) // resource.getpagesize()
    assert outside > pages // 2
    assert within < pages // 4
    assert afterwards < kept - 90
