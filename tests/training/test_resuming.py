"""A training killed at any moment ends with the same bytes as an unbroken one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.training.problems import train_both_stages

ROOT = Path(__file__).parents[2]


def run_in_a_process(backbone: Path, work: Path, out: Path, kill_at: str | None) -> list[str]:
    """Train in a process of its own, killed with SIGKILL when it has said ``kill_at``; what it said."""
    command = [sys.executable, "-m", "tests.training.problems", str(backbone), str(work), str(out)]
    said = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.strip())
            if said[-1] == kill_at:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == (0 if kill_at is None else -signal.SIGKILL)
    return said


def test_both_stages_killed_and_started_again_end_with_the_bytes_of_an_unbroken_training(
    backbone_folder: Path, tmp_path: Path
) -> None:
    broken, work = tmp_path / "broken", tmp_path / "work"
    run_in_a_process(backbone_folder, work, broken, kill_at="train text_encoder: 4")
    assert not broken.exists()
    second = run_in_a_process(backbone_folder, work, broken, kill_at="train combiner: 3")
    assert not broken.exists()
    third = run_in_a_process(backbone_folder, work, broken, kill_at=None)
    # Each run went on from the last checkpoint of the one killed: epochs this short go without on a slow disk.
    assert second[0] in {f"train text_encoder: {epoch}" for epoch in range(1, 6)}
    assert third[0] == "train text_encoder: 12"
    assert third[1] in {f"train combiner: {epoch}" for epoch in range(1, 5)}

    unbroken = tmp_path / "unbroken"
    train_both_stages(backbone_folder, tmp_path / "work of the unbroken", unbroken)
    for name in ("text_encoder.safetensors", "combiner.safetensors"):
        assert (broken / name).read_bytes() == (unbroken / name).read_bytes()
