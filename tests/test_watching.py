"""A catalogue is watched by content: what rests and says something new refreshes the root, and nothing else does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from tests.changes import Shop
from tests.random_pictures import picture_bytes

Look = Callable[[], str]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def shop(tmp_path: Path, instance: dg.DagsterInstance) -> Shop:
    return Shop(tmp_path, instance)


@pytest.fixture
def look(shop: Shop, instance: dg.DagsterInstance) -> Look:
    """One tick of the sensor: why it asked for nothing, or "asked" after running what it asked for."""
    cursor: list[str | None] = [None]

    def tick() -> str:
        definitions = shop.project.definitions()
        sensor = definitions.resolve_sensor_def("shop_files")
        with dg.build_sensor_context(
            instance=instance,
            cursor=cursor[0],
            definitions=definitions,
            resources={"storage": shop.project.storage},
        ) as context:
            said = sensor.evaluate_tick(context)
        cursor[0] = said.cursor
        if not said.run_requests:
            return str(said.skip_message)
        [request] = said.run_requests
        assert [key.to_user_string() for key in request.asset_selection or []] == ["shop/raw"]
        shop.project.materialize(instance, 'key:"shop/raw"')
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
    assert "content is what it was" in settled(look)
    assert look() == "no file changed since the last look"
    (shop.pictures / "new.jpg").write_bytes(picture_bytes("new"))
    assert "files are changing" in look()
    (shop.pictures / "newer.jpg").write_bytes(picture_bytes("newer"))
    assert "files are changing" in look()
    assert look() == "asked"
    assert look() == "no file changed since the last look"


def test_every_kind_of_change_is_seen(shop: Shop, look: Look) -> None:
    shop.project.materialize(shop.instance, 'key:"shop/raw"')
    settled(look)
    shop.replace_in_table("is red 0,test", "is green,test")
    assert settled(look) == "asked"
    (shop.pictures / "train007.jpg").write_bytes(picture_bytes("quite another"))
    assert settled(look) == "asked"
    (shop.pictures / "extra.jpg").write_bytes(picture_bytes("extra"))
    assert settled(look) == "asked"
    (shop.pictures / "extra.jpg").unlink()
    assert settled(look) == "asked"


def test_touching_and_equal_replacements_ask_for_nothing(shop: Shop, look: Look) -> None:
    shop.project.materialize(shop.instance, 'key:"shop/raw"')
    settled(look)
    for picture in shop.pictures.iterdir():
        os.utime(picture)
    shop.table.write_bytes(shop.table.read_bytes())
    assert "content is what it was" in settled(look)


def test_a_broken_table_is_handed_to_the_root_which_tells_what_is_wrong(shop: Shop, look: Look) -> None:
    shop.project.materialize(shop.instance, 'key:"shop/raw"')
    settled(look)
    shop.table.write_text("nonsense\n")
    with pytest.raises(Exception, match="no column reference"):
        settled(look)


def test_a_folder_that_is_away_is_waited_for(shop: Shop, look: Look) -> None:
    shop.project.materialize(shop.instance, 'key:"shop/raw"')
    settled(look)
    shop.pictures.rename(shop.pictures.with_name("away"))
    assert "is not there at the moment" in look()
