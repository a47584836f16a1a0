"""The sample catalogue runs as its YAML in this repository says, and its splits share no picture."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest
import yaml

from tests.sample_shop import SAMPLE, sample_pictures
from tests.trial_project import PROJECT, TrialProject, metadata_of


@pytest.fixture
def boutique(project: TrialProject, monkeypatch: pytest.MonkeyPatch) -> TrialProject:
    """The YAML of this repository as it stands, but for the models of another data set."""
    said = yaml.safe_load((PROJECT / "cir_assets" / "defs" / "boutique" / "defs.yaml").read_text())
    attributes = {key: value for key, value in said["attributes"].items() if key != "models_of"}
    project.write_dataset("boutique", **attributes)
    monkeypatch.chdir(PROJECT)
    return project


def test_it_runs_whole_and_no_picture_is_in_two_splits(
    boutique: TrialProject, instance: dg.DagsterInstance
) -> None:
    result = boutique.materialize(instance, 'key:"boutique/*"', 'key:"leaderboard"')
    assert result.success
    tables = boutique.storage.tables("boutique")
    galleries = pl.read_parquet(tables / "galleries.parquet")
    keys = pl.read_parquet(tables / "images.parquet").select("image", "image_key")
    splits = galleries.join(keys, on="image").group_by("image_key").agg(pl.col("split").n_unique())
    assert splits["split"].to_list() == [1] * splits.height
    triplets = pl.read_parquet(tables / "triplets.parquet")
    shares = dict(triplets.group_by("split").len().iter_rows())
    assert shares.keys() == {"train", "val", "test"}
    assert shares["train"] > 0.6 * triplets.height
    assert metadata_of(result, "boutique/images")["missing_pictures"] == 0
    assert metadata_of(result, "boutique/tiny_clip/short/evaluation")["val_combiner_headline"] > 0


def test_its_pictures_are_unpacked_below_the_storage_folder_and_served_from_there(
    boutique: TrialProject, instance: dg.DagsterInstance
) -> None:
    result = boutique.materialize(instance, 'key:"boutique/raw"')
    unpacked = boutique.storage.raw("boutique") / "pictures"
    assert metadata_of(result, "boutique/raw")["folder"] == str(unpacked)
    found = {file.relative_to(unpacked): file.read_bytes() for file in unpacked.rglob("*.png")}
    originals = sample_pictures()
    assert found == {file.relative_to(originals): file.read_bytes() for file in originals.rglob("*.png")}
    assert len(found) == 300


def test_without_a_table_there_are_features_and_a_gallery_to_search(
    project: TrialProject, instance: dg.DagsterInstance
) -> None:
    project.write_dataset("album", source={"kind": "catalogue", "pictures": str(sample_pictures())})
    result = project.materialize(
        instance, 'key:"album/raw"', 'key:"album/images"', 'key:"album/tiny_clip/image_features"'
    )
    assert result.success
    pictures = len(list(sample_pictures().rglob("*.png")))
    assert metadata_of(result, "album/tiny_clip/image_features")["encoded"] == pictures
    galleries = pl.read_parquet(project.storage.tables("album") / "galleries.parquet")
    assert galleries["image"].n_unique() == pictures


def test_without_a_table_what_is_wrong_with_the_pictures_is_published(
    project: TrialProject, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    shutil.copytree(sample_pictures() / "dress", tmp_path / "album")
    (tmp_path / "album" / "text.jpg").write_text("no picture")
    (tmp_path / "album" / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "album" / "a.psd").touch()
    project.write_dataset(
        "album", source={"kind": "catalogue", "pictures": str(tmp_path / "album")}, recipes={}
    )
    steps = ('key:"album/raw"', 'key:"album/images"', 'key:"album/triplets"', 'key:"leaderboard"')
    assert project.materialize(instance, *steps).success
    with duckdb.connect(str(project.storage.evaluation), read_only=True) as connection:
        told = connection.execute(
            "SELECT kind, subject FROM data_issues WHERE dataset = 'album' ORDER BY ALL"
        ).fetchall()
        images = connection.execute("SELECT count(*) FROM images WHERE dataset = 'album'").fetchall()
    assert told == [
        ("missing_picture", "gone.jpg"),
        ("unread_format", ".psd"),
        ("unreadable_picture", "text.jpg"),
    ]
    assert images == [(len(list((sample_pictures() / "dress").iterdir())),)]


def test_an_exact_copy_follows_its_original_into_its_split(
    project: TrialProject, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    shutil.copytree(sample_pictures(), tmp_path / "shop" / "pictures")
    shutil.copy(SAMPLE / "triplets.csv", tmp_path / "shop")
    table = pl.read_csv(tmp_path / "shop" / "triplets.csv", infer_schema=False)
    first, last = table["reference"][0], table["reference"][-1]
    copy = (tmp_path / "shop" / "pictures" / first).read_bytes()
    (tmp_path / "shop" / "pictures" / last).write_bytes(copy)
    source = {
        "kind": "catalogue",
        "pictures": str(tmp_path / "shop" / "pictures"),
        "triplets": str(tmp_path / "shop" / "triplets.csv"),
    }
    project.write_dataset("shop", source=source)
    assert project.materialize(instance, 'key:"shop/raw"', 'key:"shop/images"', 'key:"shop/triplets"').success
    galleries = pl.read_parquet(project.storage.tables("shop") / "galleries.parquet")
    assert galleries.filter(pl.col("image").is_in([first, last]))["split"].n_unique() == 1
