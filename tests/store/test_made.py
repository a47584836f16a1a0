"""What was made is found by where it lies in its own storage folder and by its content, never by an old address."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cir_assets.store.ledger import Ledger, LedgerEntry
from cir_assets.store.made import Check, Made, is_intact


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A storage folder with one file, one folder and one cache, and the ledger that tells of them."""
    root = tmp_path / "storage"
    (root / "models" / "one").mkdir(parents=True)
    (root / "table.parquet").write_bytes(b"as it was made")
    (root / "features.duckdb").write_bytes(b"rows")
    made = Made(
        "version",
        {
            "folder": {"path": str(root / "models")},
            "elsewhere": {"path": "/pictures"},
            "rows": 3,
            "encoded": 3,
        },
        {"complete": Check(True, "all of it", {"rows": 3})},
        files=[root / "table.parquet", root / "models" / "one"],
        grown=[root / "features.duckdb"],
        unworked={"encoded": 0},
    )
    Ledger(root / "ledger").record("shop/images", made.to_entry("fingerprint", root))
    return root


def entry(root: Path) -> LedgerEntry:
    found = Ledger(root / "ledger").latest("shop/images")
    assert found is not None
    return found


def test_a_moved_folder_finds_what_it_made(storage: Path) -> None:
    moved = storage.rename(storage.with_name("moved"))
    assert is_intact(entry(moved), moved)
    again = Made.from_entry(entry(moved), moved)
    assert again.metadata == {
        "folder": {"path": str(moved / "models")},
        "elsewhere": {"path": "/pictures"},
        "rows": 3,
        "encoded": 0,
    }
    assert again.checks == {"complete": Check(True, "all of it", {"rows": 3})}


@pytest.mark.parametrize("lost", ["table.parquet", "models/one", "features.duckdb"])
def test_a_copy_sees_what_it_lacks_though_the_original_has_it(storage: Path, lost: str) -> None:
    copy = storage.with_name("copy")
    shutil.copytree(storage, copy)
    assert is_intact(entry(copy), copy)
    if (copy / lost).is_dir():
        (copy / lost).rmdir()
    else:
        (copy / lost).unlink()
    assert not is_intact(entry(copy), copy)
    assert is_intact(entry(storage), storage)


def test_one_flipped_byte_is_no_longer_what_was_made_and_a_grown_cache_still_is(storage: Path) -> None:
    (storage / "features.duckdb").write_bytes(b"rows and more rows")
    assert is_intact(entry(storage), storage)
    (storage / "table.parquet").write_bytes(b"as it was mAde")
    assert not is_intact(entry(storage), storage)


def test_a_file_beside_which_somebody_left_changes_is_not_what_was_made(storage: Path) -> None:
    (storage / "table.parquet.wal").write_bytes(b"changes")
    assert not is_intact(entry(storage), storage)


def test_absolute_paths_of_an_older_ledger_count_below_their_own_folder_alone(storage: Path) -> None:
    old = LedgerEntry("fingerprint", "version", {"files": [str(storage / "table.parquet")]})
    assert is_intact(old, storage)
    copy = storage.with_name("copy")
    shutil.copytree(storage, copy)
    assert not is_intact(old, copy)
