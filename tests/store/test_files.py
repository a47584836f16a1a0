"""What is written is there whole or not at all, and what the dead left beside it goes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cir_assets.store.files import clear_left_beside, written_whole
from cir_assets.store.ledger import Ledger, LedgerEntry


@pytest.fixture
def dead() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_what_a_dead_process_left_goes_when_that_file_is_next_written_and_nothing_else(
    tmp_path: Path, dead: int
) -> None:
    living = os.getppid()
    for name in (f".a.json.{dead}", f".a.json.{living}", f".b.json.{dead}", ".a.json.lock", "a.json"):
        (tmp_path / name).write_text("half")
    with written_whole(tmp_path / "a.json") as beside:
        beside.write_text("whole")
        assert (tmp_path / "a.json").read_text() == "half"
    assert (tmp_path / "a.json").read_text() == "whole"
    assert names(tmp_path) == {"a.json", f".a.json.{living}", f".b.json.{dead}", ".a.json.lock"}
    (tmp_path / f".version.{dead}").mkdir()
    clear_left_beside(tmp_path)
    assert names(tmp_path) == {"a.json", f".a.json.{living}", ".a.json.lock"}


def test_a_body_that_raises_leaves_the_old_file_and_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("old")

    def interrupted() -> None:
        with written_whole(tmp_path / "a.json") as beside:
            beside.write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert names(tmp_path) == {"a.json"}
    assert (tmp_path / "a.json").read_text() == "old"


@pytest.mark.parametrize("kept", [0, 20, -3])
def test_an_entry_cut_off_by_a_power_failure_counts_as_none(tmp_path: Path, kept: int) -> None:
    ledger = Ledger(tmp_path)
    entry = LedgerEntry("made from", "version", {"metadata": {"größe": 3}})
    ledger.record("shop/images", entry)
    assert ledger.latest("shop/images") == ledger.look_up("shop/images", "made from") == entry
    latest = tmp_path / "shop" / "images" / "latest.json"
    latest.write_bytes(latest.read_bytes()[:kept])
    assert ledger.latest("shop/images") is None
    ledger.record("shop/images", entry)
    assert ledger.latest("shop/images") == entry
