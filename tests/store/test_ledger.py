"""What each step made is found again, and no older than it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from cir_assets.store.ledger import Ledger, LedgerEntry


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


def entries(root: Path, step: str) -> set[str]:
    return {file.stem for file in (root / step).iterdir()}


def test_a_step_that_keeps_its_newest_result_alone_has_one_entry_however_often_it_changed(
    tmp_path: Path,
) -> None:
    ledger = Ledger(tmp_path)
    # As an earlier version left them.
    for change in range(3):
        ledger.record("shop/images", LedgerEntry(f"made from {change}", "version"))
    ledger.record("shop/images/below", LedgerEntry("another step's", "version"))
    for change in range(100):
        entry = LedgerEntry(f"made from {change}", "version")
        ledger.record("shop/images", entry, alone=True)
        assert ledger.latest("shop/images") == entry
    assert entries(tmp_path, "shop/images") == {"latest", "below"}
    assert ledger.look_up("shop/images/below", "another step's") is not None


def test_a_step_that_keeps_versions_keeps_the_entries_of_those_that_are_left(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for change in range(5):
        ledger.record("shop/model", LedgerEntry(str(change), f"version {change}"))
    ledger.keep_only("shop/model", {"1", "3"})
    assert entries(tmp_path, "shop/model") == {"latest", "1", "3"}
    latest = ledger.latest("shop/model")
    assert latest is not None
    assert latest.fingerprint == "4"
    ledger.keep_only("shop/never made", {"1"})
