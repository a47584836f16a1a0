"""Every path lies below the storage folder, and no two things share one."""

from __future__ import annotations

from pathlib import Path

import pytest

from cir_assets.store.layout import Storage

PLACE = ("shop", "tiny_clip", "quick")


def test_a_storage_folder_is_named_or_is_dagsters_home_or_stands_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    assert Storage("named").root == tmp_path / "named"
    assert Storage().root == tmp_path / "home"
    monkeypatch.delenv("DAGSTER_HOME")
    assert Storage().root == tmp_path / "storage"


def test_no_two_things_share_a_place_and_all_lie_below_the_folder(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    places = [
        *(storage.ledger, storage.evaluation, storage.heartbeats, storage.champions, storage.reports),
        *(storage.backbone("tiny_clip"), storage.raw("shop"), storage.tables("shop")),
        *(storage.features("shop", "tiny_clip"), storage.tuned_features(*PLACE)),
        *(storage.promotions(*PLACE), storage.search(*PLACE), storage.report(*PLACE)),
        storage.results(*PLACE),
        *(each(*PLACE, step) for each in (storage.text_features, storage.models) for step in ("one", "two")),
    ]
    assert len(set(places)) == len(places)
    assert all(place.is_relative_to(tmp_path) for place in places)
    # Pipelines of one data set lie side by side, so that none is written over by another.
    assert storage.results("shop", "tiny_clip", "other").parent == storage.results(*PLACE).parent
