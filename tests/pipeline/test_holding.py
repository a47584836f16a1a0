"""Pictures that vanish in one refresh are held for a person: told, nothing is made from what is left."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from cir_assets.pipeline.holding import (
    HeldRefresh,
    accept,
    held_refresh,
    held_refreshes,
    hold,
    loss_of_pictures,
    memory_of,
)
from cir_assets.store.layout import Storage
from cir_assets.store.made import versions_of
from cir_assets.store.promotions import PromotionLog
from tests.changes import MODELS, Shop, fresh_shop
from tests.random_pictures import write_pictures
from tests.trial_project import TrialProject, metadata_of

PLACE = ("shop", "tiny_clip", "quick")
SENSOR = {"dagster/sensor_name": "shop_files"}
SCHEDULE = {"dagster/schedule_name": "shop_refresh"}


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """Two hundred pictures, everything made once; these tests follow one another."""
    with fresh_shop() as made:
        # So that on half of them, too, the loss falls.
        for stage in made.stages.values():
            stage |= {"batch_size": 16, "epochs": 4}
        made.write()
        made.settle()
        yield made


def move(names: str, source: Path, destination: Path) -> None:
    destination.mkdir(exist_ok=True)
    for picture in source.glob(names):
        picture.rename(destination / picture.name)


def away(shop: Shop) -> Path:
    return shop.table.parent / "away"


def kept(shop: Shop) -> tuple[bool, str]:
    """What the newest look at the root said of what was lost."""
    key = dg.AssetCheckKey(dg.AssetKey(["shop", "raw"]), "pictures_kept")
    [record] = shop.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.evaluation is not None
    return record.evaluation.passed, str(record.evaluation.description)


def state(shop: Shop) -> tuple[dict[str, str], dict[str, str] | None]:
    """What a person who goes on by hand takes for the newest, and who is champion."""
    steps = ["raw", "images", "triplets", "tiny_clip/image_features", "tiny_clip/quick/combiner"]
    versions = versions_of(shop.project.storage, *(f"shop/{step}" for step in steps))
    return versions, PromotionLog(shop.project.storage.promotions(*PLACE)).champion()


@pytest.mark.parametrize("by", [SENSOR, SCHEDULE, {}], ids=["sensor", "schedule", "person"])
def test_half_of_the_pictures_gone_is_told_and_nothing_is_made(shop: Shop, by: dict[str, str]) -> None:
    before = state(shop)
    move("train0*.jpg", shop.pictures, away(shop))
    ran = shop.settle("shop/raw", by=by)
    assert (ran.failed, ran.made | ran.same) == ({"raw"}, set())
    passed, told = kept(shop)
    assert not passed
    assert "100 of 200 pictures (first: train000.jpg, train001.jpg, train002.jpg)" in told
    assert "101 of 200 triplets are gone" in told
    assert "materialize shop/raw by hand once more" in told
    assert state(shop) == before
    assert shop.idle(3) == []
    move("*.jpg", away(shop), shop.pictures)
    ran = shop.settle("shop/raw", by=SENSOR)
    assert (ran.failed, ran.made, ran.same) == (set(), set(), {"raw"})
    assert kept(shop)[0]
    assert state(shop) == before


def test_what_a_sensor_holds_it_holds_each_time_and_a_person_who_was_told_accepts(shop: Shop) -> None:
    versions, champion = state(shop)
    move("train0*.jpg", shop.pictures, away(shop))
    for by in (SENSOR, SENSOR, SCHEDULE):
        assert shop.settle("shop/raw", by=by).failed == {"raw"}
    [waiting] = held_refreshes(shop.project.storage).items()
    assert waiting[0] == "shop"
    assert "pictures are gone (first: train0" in waiting[1]
    assert waiting[1].endswith("bring them back, or materialize shop/raw to accept that")
    ran = shop.settle("shop/raw")
    assert held_refreshes(shop.project.storage) == {}
    assert kept(shop)[1].endswith("a person accepted that")
    assert {"raw", "images", "triplets", "champion"} | MODELS <= ran.made
    assert state(shop)[1] != champion
    assert all(version != versions[step] for step, version in state(shop)[0].items())
    assert shop.idle(3) == []


def test_a_folder_that_is_called_otherwise_loses_nothing(shop: Shop) -> None:
    move("test*.jpg", shop.pictures, shop.pictures / "renamed")
    shop.table.write_text(shop.table.read_text().replace("test0", "renamed/test0"))
    ran = shop.settle("shop/raw", by=SENSOR)
    assert "raw" in ran.made
    assert "0 of 100 pictures" in kept(shop)[1]


def test_triplets_are_held_too(shop: Shop) -> None:
    rows = shop.table.read_text().splitlines()
    shop.table.write_text("\n".join([*rows[:1], *rows[130:]]) + "\n")
    assert shop.settle("shop/raw", by=SENSOR).failed == {"raw"}
    assert "0 of 100 pictures and 28 of 99 triplets are gone" in kept(shop)[1]
    shop.table.write_text("\n".join(rows) + "\n")
    assert shop.settle("shop/raw", by=SENSOR).same == {"raw"}


def catalogue(project: TrialProject, folder: Path, share: float) -> None:
    source = {"kind": "catalogue", "pictures": str(folder)}
    project.write_dataset("shop", source=source, hold_when_pictures_shrink_by=share)


def test_the_share_is_a_setting(project: TrialProject, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    write_pictures(folder, [f"p{number}.jpg" for number in range(10)])
    catalogue(project, folder, 0.2)
    project.materialize(instance, 'key:"shop/raw"')
    for gone in (0, 1):
        (folder / f"p{gone}.jpg").unlink()
    assert project.materialize(instance, 'key:"shop/raw"', tags=SENSOR).success
    for gone in (2, 3):
        (folder / f"p{gone}.jpg").unlink()
    assert not project.materialize(instance, 'key:"shop/raw"', raise_on_error=False, tags=SENSOR).success
    catalogue(project, folder, 1)
    assert project.materialize(instance, 'key:"shop/raw"', tags=SENSOR).success


def test_another_source_in_the_yaml_is_a_persons_decision(
    project: TrialProject, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    for name, count in (("large", 10), ("small", 2)):
        write_pictures(tmp_path / name, [f"{name}{number}.jpg" for number in range(count)])
        catalogue(project, tmp_path / name, 0.2)
        result = project.materialize(instance, 'key:"shop/raw"', tags=SCHEDULE)
        assert metadata_of(result, "shop/raw")["pictures"] == count


def test_pictures_that_vanish_between_scan_and_encoding_are_held_there(
    project: TrialProject, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    folder, features = tmp_path / "pictures", 'key:"shop/tiny_clip/image_features"'
    write_pictures(folder, [f"p{number}.jpg" for number in range(10)])
    catalogue(project, folder, 0.2)
    project.materialize(instance, 'key:"shop/raw"', 'key:"shop/images"')
    shutil.copytree(folder, away := tmp_path / "away")
    for number in range(3):
        (folder / f"p{number}.jpg").unlink()
    result = project.materialize(instance, features, raise_on_error=False)
    [failure] = [event for event in result.all_events if event.is_step_failure]
    told = str(failure.step_failure_data.error)
    assert "3 of 10 pictures could not be read now (the first is p0.jpg: there is no such file)" in told
    assert "materialize shop/raw first" in told
    issues = pl.read_parquet(project.storage.tables("shop") / "data_issues/tiny_clip.parquet")
    assert issues["kind"].to_list() == ["picture_not_read_now"] * 3
    shutil.copytree(away, folder, dirs_exist_ok=True)
    said = metadata_of(project.materialize(instance, features), "shop/tiny_clip/image_features")
    assert (said["dagster/row_count"], said["encoded"], said["not_read_now"]) == (10, 3, 0)


def test_a_picture_is_gone_when_neither_its_name_nor_its_content_is_there(tmp_path: Path) -> None:
    storage, accepted = Storage(tmp_path), pl.DataFrame({"image": list("abcd"), "image_key": list("1234")})
    memory = memory_of(storage, "shop")
    assert loss_of_pictures(memory, accepted) == (0, [])
    hold(storage, "shop", HeldRefresh(["a"], "state"))
    assert held_refresh(storage, "shop") == HeldRefresh(["a"], "state")
    accept(storage, "shop", accepted)
    assert held_refresh(storage, "shop") is None
    now = pl.DataFrame({"image": ["a", "renamed", "new"], "image_key": ["other", "2", "5"]})
    assert loss_of_pictures(memory, now) == (4, ["c", "d"])
