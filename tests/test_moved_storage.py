"""A storage folder may be moved, copied and damaged: what was made is found by content, and what is lost made again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from cir_assets.store.layout import Storage
from tests.changes import Shop
from tests.trial_project import metadata_of

WHOLE = ('key:"shop/*"', 'key:"leaderboard"')
PIPELINE = "shop/tiny_clip/quick"
TRAINED = [f"{PIPELINE}/{model}" for model in ("text_encoder", "combiner", "combiner_frozen_clip")]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop whose graph was made whole, once for all tests of this module."""
    with dg.DagsterInstance.ephemeral() as instance:
        made = Shop(tmp_path_factory.mktemp("shop"), instance)
        assert made.project.materialize(instance, *WHOLE).success
        yield made


def again(shop: Shop, storage: Path) -> tuple[set[str], dg.ExecuteInProcessResult]:
    """Everything once more with another storage folder: the steps made anew, and the run."""
    before, shop.project.storage = shop.project.storage, Storage(folder=str(storage))
    try:
        ran = shop.project.materialize(shop.instance, *WHOLE)
    finally:
        shop.project.storage = before
    assert ran.success
    events = ran.get_asset_materialization_events()
    steps = {event.asset_key.to_user_string() for event in events if event.asset_key}
    return {step for step in steps if not metadata_of(ran, step)["reused"]}, ran


def copied(shop: Shop, place: Path) -> Path:
    shutil.copytree(shop.project.storage.root, place)
    return place


def figures(storage: Path) -> list[tuple[object, ...]]:
    with duckdb.connect(str(storage / "evaluation.duckdb"), read_only=True) as connection:
        return connection.sql("SELECT method, split, headline FROM leaderboard ORDER BY ALL").fetchall()


def test_a_moved_folder_trains_encodes_and_evaluates_nothing_again(shop: Shop, tmp_path: Path) -> None:
    original = shop.project.storage.root
    before = figures(original)
    moved = copied(shop, tmp_path / "elsewhere")
    hidden = original.rename(original.with_name("hidden"))
    try:
        made, ran = again(shop, moved)
    finally:
        shutil.rmtree(original, ignore_errors=True)
        hidden.rename(original)
    assert made == set()
    assert metadata_of(ran, "shop/tiny_clip/image_features")["encoded"] == 0
    assert str(moved) in str(metadata_of(ran, TRAINED[0])["folder"])
    assert figures(moved) == before


def test_a_copy_makes_again_what_it_lacks_though_the_original_has_it(shop: Shop, tmp_path: Path) -> None:
    before = figures(shop.project.storage.root)
    copy = copied(shop, tmp_path / "copy")
    for lost in ("results", "models", "reports", "evaluation.duckdb"):
        if (copy / lost).is_dir():
            shutil.rmtree(copy / lost)
        else:
            (copy / lost).unlink()
    made, _ = again(shop, copy)
    assert {*TRAINED, f"{PIPELINE}/evaluation", f"{PIPELINE}/report", "leaderboard"} <= made
    assert "shop/tiny_clip/image_features" not in made
    assert figures(copy) == before
    assert (copy / "models" / PIPELINE / "combiner").is_dir()


@pytest.mark.parametrize(
    ("damaged", "remade"),
    [
        (f"models/{PIPELINE}/text_encoder/*/model.safetensors", TRAINED[0]),
        (f"results/{PIPELINE}.duckdb", f"{PIPELINE}/evaluation"),
        ("tables/shop/images.parquet", "shop/images"),
        ("tables/shop/triplets.parquet", "shop/triplets"),
        ("evaluation.duckdb", "leaderboard"),
    ],
)
def test_a_file_of_which_one_byte_changed_is_made_again_as_it_was(
    shop: Shop, tmp_path: Path, damaged: str, remade: str
) -> None:
    copy = copied(shop, tmp_path / "copy")
    [file] = copy.glob(damaged)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.chmod(0o644)
    file.write_bytes(content)
    made, _ = again(shop, copy)
    assert remade in made
    assert not {f"{PIPELINE}/challenger", f"{PIPELINE}/champion"} & made
    assert figures(copy) == figures(shop.project.storage.root)


def test_changes_a_killed_client_left_beside_the_published_database_go_with_the_next_run(
    shop: Shop, tmp_path: Path
) -> None:
    copy = copied(shop, tmp_path / "copy")
    before = figures(copy)
    (copy / "evaluation.duckdb").chmod(0o644)
    client = duckdb.connect(str(copy / "evaluation.duckdb"))
    client.execute("UPDATE metrics SET value = value + 20")
    shutil.copy(copy / "evaluation.duckdb.wal", copy / "log")
    client.close()
    shutil.copy(shop.project.storage.root / "evaluation.duckdb", copy)
    (copy / "log").rename(copy / "evaluation.duckdb.wal")
    assert figures(copy) != before, "whoever opens it sees figures nobody published"
    made, _ = again(shop, copy)
    assert made == {"leaderboard"}
    assert figures(copy) == before
