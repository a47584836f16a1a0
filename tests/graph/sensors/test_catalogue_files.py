"""A catalogue is watched by content: what rests and says something new refreshes the root, and nothing else does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest

from cir_assets.graph.resources import StorageFolder
from tests.changes import Shop
from tests.random_pictures import picture_bytes

Look = Callable[[], str]
RAW = dg.AssetKey(["shop", "raw"])


@pytest.fixture
def shop(tmp_path: Path, instance: dg.DagsterInstance) -> Shop:
    return Shop(tmp_path, instance)


@dataclass
class Asked:
    """Why the sensor asked, and whether the runs it asks for die before they begin."""

    because: list[str] = field(default_factory=list)
    dying: bool = False


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def look(shop: Shop, asked: Asked) -> Look:
    return looking(shop, asked)


def looking(shop: Shop, asked: Asked) -> Look:
    """One tick of the sensor: why it asked for nothing, or "asked" after running what it asked for."""
    instance, cursor = shop.instance, list[str | None]([None])
    definitions = shop.project.definitions()
    sensor = definitions.resolve_sensor_def("shop_files")

    def tick() -> str:
        with dg.build_sensor_context(
            instance=instance,
            cursor=cursor[0],
            definitions=definitions,
            resources={"storage": StorageFolder(folder=str(shop.project.storage.root))},
        ) as context:
            said = sensor.evaluate_tick(context)
        cursor[0] = said.cursor
        if not said.run_requests:
            return str(said.skip_message)
        [request] = said.run_requests
        assert [key.to_user_string() for key in request.asset_selection or []] == ["shop/raw"]
        # Dagster would pass over a key it has seen, as when a change is undone.
        assert request.run_key is None
        asked.because.append(request.tags["because"])
        if asked.dying:
            job = definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection={RAW})
            instance.report_run_failed(
                instance.create_run_for_job(job, asset_selection=frozenset({RAW})), "killed"
            )
        else:
            # As the daemon does: a run of a sensor carries its name.
            tags = {"dagster/sensor_name": "shop_files"}
            shop.project.materialize(instance, 'key:"shop/raw"', raise_on_error=False, tags=tags)
        return "asked"

    return tick


def settled(look: Look) -> str:
    """Two looks: the first sees that something moved, the second that it rests."""
    assert "files are changing" in look()
    return look()


def test_what_was_never_made_is_left_to_a_person(look: Look) -> None:
    assert "was never made; materialize it once" in look()


def test_changed_content_is_asked_for_once_it_rests(shop: Shop, look: Look) -> None:
    shop.project.materialize(shop.instance, 'key:"shop/raw"')
    assert look() == "no file changed since the last look"
    (shop.pictures / "new.jpg").write_bytes(picture_bytes("new"))
    assert "files are changing" in look()
    (shop.pictures / "newer.jpg").write_bytes(picture_bytes("newer"))
    assert "files are changing" in look()
    assert look() == "asked"
    assert look() == "no file changed since the last look"


def test_every_kind_of_change_is_seen(shop: Shop, look: Look) -> None:
    shop.project.materialize(shop.instance, 'key:"shop/raw"')
    assert look() == "no file changed since the last look"
    shop.replace_in_table("is red 0,test", "is green,test")
    assert settled(look) == "asked"
    (shop.pictures / "train007.jpg").write_bytes(picture_bytes("quite another"))
    assert settled(look) == "asked"
    (shop.pictures / "extra.jpg").write_bytes(picture_bytes("extra"))
    assert settled(look) == "asked"
    (shop.pictures / "extra.jpg").unlink()
    assert settled(look) == "asked"


def test_files_that_vanish_are_asked_for_once_then_held_for_a_person_until_they_are_back(
    shop: Shop, look: Look, asked: Asked
) -> None:
    shop.project.materialize(shop.instance, 'key:"shop/raw"')
    version = shop.project.entry("shop/raw").data_version
    assert look() == "no file changed since the last look"
    away = shop.pictures.rename(shop.pictures.with_name("away"))
    shutil.copytree(away, shop.pictures, ignore=shutil.ignore_patterns("train0*"))
    assert settled(look) == "asked"
    for _ in range(3):
        assert look().startswith("shop/raw is held for a person, as too much is gone")
    shutil.rmtree(shop.pictures)
    away.rename(shop.pictures)
    assert settled(look) == "asked"
    assert asked.because[-1] == f"files are again those of version {version}"
    assert look() == "no file changed since the last look"
    assert shop.project.entry("shop/raw").data_version == version


def test_an_archive_of_pictures_is_watched_by_its_content(shop: Shop, asked: Asked) -> None:
    packed = Path(shutil.make_archive(str(shop.pictures), "zip", shop.pictures))
    shop.project.write_dataset(
        "shop",
        source={"kind": "catalogue", "pictures": str(packed), "triplets": str(shop.table)},
        watch_every_seconds=5,
    )
    look = looking(shop, asked)
    shop.project.materialize(shop.instance, 'key:"shop/raw"')
    assert look() == "no file changed since the last look"
    (shop.pictures / "extra.jpg").write_bytes(picture_bytes("extra"))
    shutil.make_archive(str(shop.pictures), "zip", shop.pictures)
    assert settled(look) == "asked"
    assert shop.project.entry("shop/raw").detail["metadata"]["pictures"] == 201
    packed.write_bytes(b"half of one")
    assert settled(look) == "asked"
    assert shop.project.entry("shop/raw").detail["metadata"]["pictures"] == 201
    packed.unlink()
    assert "is not there at the moment" in look()


def test_touching_and_equal_replacements_are_looked_into_and_nothing_follows(shop: Shop, look: Look) -> None:
    shop.project.materialize(shop.instance, 'key:"shop/raw"')
    assert look() == "no file changed since the last look"
    for picture in shop.pictures.iterdir():
        os.utime(picture)
    shop.table.write_bytes(shop.table.read_bytes())
    version = shop.project.entry("shop/raw").data_version
    assert settled(look) == "asked"
    assert shop.project.entry("shop/raw").data_version == version
    assert look() == "no file changed since the last look"


def test_a_change_whose_run_dies_is_asked_for_once_more(shop: Shop, look: Look, asked: Asked) -> None:
    shop.project.materialize(shop.instance, 'key:"shop/raw"')
    assert look() == "no file changed since the last look"
    shop.replace_in_table("is red 0,test", "is green,test")
    asked.dying = True
    assert settled(look) == "asked"
    asked.dying = False
    assert look() == "asked"
    before, after = (each.partition(";")[0] for each in asked.because)
    assert before == after
    assert asked.because[1].endswith("once more, as the run that was asked for did not read them")
    assert look() == "no file changed since the last look"


def test_a_run_that_is_going_is_waited_for(shop: Shop, look: Look, instance: dg.DagsterInstance) -> None:
    shop.project.materialize(instance, 'key:"shop/raw"')
    assert look() == "no file changed since the last look"
    job = shop.project.definitions().resolve_implicit_global_asset_job_def().get_subset(asset_selection={RAW})
    going = instance.create_run_for_job(job, asset_selection=frozenset({RAW}))
    shop.replace_in_table("is red 0,test", "is green,test")
    assert f"run {going.run_id[:8]} is reading the files" in settled(look)
    instance.report_run_failed(going, "killed")
    assert look() == "asked"


def test_a_broken_table_is_handed_to_the_root_and_after_two_runs_to_a_person(
    shop: Shop, look: Look, instance: dg.DagsterInstance
) -> None:
    shop.project.materialize(instance, 'key:"shop/raw"')
    assert look() == "no file changed since the last look"
    whole = shop.table.read_text()
    shop.table.write_text("nonsense\n")
    assert settled(look) == "asked"
    assert look() == "asked"
    assert "2 runs did not read them" in look()
    [run] = instance.get_runs(limit=1)
    [failure] = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    assert failure.dagster_event is not None
    assert "no column reference" in str(failure.dagster_event.step_failure_data.error)
    shop.table.write_text(whole)
    assert settled(look) == "asked"
    assert look() == "no file changed since the last look"


def test_a_link_to_nowhere_and_a_read_table_stop_no_look(shop: Shop, look: Look) -> None:
    shop.project.materialize(shop.instance, 'key:"shop/raw"')
    assert look() == "no file changed since the last look"
    (shop.pictures / "gone.txt").symlink_to(shop.pictures / "nowhere")
    assert settled(look) == "asked"
    os.utime(shop.table, ns=(1, shop.table.stat().st_mtime_ns))
    assert look() == "no file changed since the last look"


def test_what_lies_there_and_cannot_be_read_is_told_once_and_stops_no_look(shop: Shop, look: Look) -> None:
    shop.project.materialize(shop.instance, 'key:"shop/raw"')
    assert look() == "no file changed since the last look"
    (shop.pictures / "loop").symlink_to(".")
    (shop.pictures / "gone.jpg").symlink_to("nowhere")
    (shop.pictures / os.fsdecode(b"caf\xe9.jpg")).write_bytes(picture_bytes("latin"))
    os.mkfifo(shop.pictures / "pipe.jpg")
    assert settled(look) == "asked"
    assert look() == "no file changed since the last look"


def test_a_folder_that_is_away_is_waited_for(shop: Shop, look: Look) -> None:
    shop.project.materialize(shop.instance, 'key:"shop/raw"')
    assert look() == "no file changed since the last look"
    shop.pictures.rename(shop.pictures.with_name("away"))
    assert "is not there at the moment" in look()
