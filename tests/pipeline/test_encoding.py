"""What is remembered of a picture is what its own bytes say, whatever happens to its file while it is encoded."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from PIL import Image

from cir_assets.graph.sensors.stale_sweep import stale_assets
from cir_assets.models.backbone import Backbone
from cir_assets.pictures.decoding import decoded_batches
from cir_assets.store.database import open_database
from tests.random_pictures import picture_bytes
from tests.trial_project import TrialProject, metadata_of

SCAN = ('key:"shop/raw"', 'key:"shop/images"')
ENCODE = 'key:"shop/tiny_clip/image_features"'
FEATURES = "shop/tiny_clip/image_features"


@pytest.fixture
def shop(tmp_path: Path, project: TrialProject) -> Path:
    """The pictures p0.jpg to p5.jpg of a catalogue without a table; scanned, nothing encoded."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        (folder / f"p{number}.jpg").write_bytes(picture_bytes(f"p{number}"))
    project.write_dataset("shop", source={"kind": "catalogue", "pictures": str(folder)}, decoding_workers=0)
    return folder


def issues(project: TrialProject) -> list[tuple[str, str, str]]:
    return pl.read_parquet(project.storage.tables("shop") / "data_issues/tiny_clip.parquet").rows()


def cosine_with_its_own(project: TrialProject, picture: Path) -> float:
    """Of the cached feature under a file's key and the file encoded now."""
    backbone = Backbone.load(project.storage.backbone("tiny_clip"), "cpu")
    [batch] = decoded_batches([picture], resolution=backbone.resolution, workers=0)
    own = backbone.encode_images(batch.pixels).numpy()[0]
    key = hashlib.sha256(picture.read_bytes()).hexdigest()
    with open_database(project.storage.features("shop", "tiny_clip"), read_only=True) as connection:
        [[cached]] = connection.execute(
            "SELECT feature FROM image_features WHERE image_key = $1", [key]
        ).fetchall()
    return float(np.dot(own, cached) / np.linalg.norm(own) / np.linalg.norm(cached))


def test_a_picture_that_was_away_is_encoded_once_it_is_back(
    project: TrialProject, instance: dg.DagsterInstance, shop: Path, tmp_path: Path
) -> None:
    project.materialize(instance, *SCAN)
    (shop / "p3.jpg").rename(tmp_path / "p3.jpg")
    first = metadata_of(project.materialize(instance, ENCODE), FEATURES)
    assert (first["dagster/row_count"], first["not_read_now"], first["undecodable"]) == (5, 1, 0)
    assert issues(project) == [("picture_not_read_now", "p3.jpg", "there is no such file")]
    graph = project.definitions().resolve_asset_graph()
    assert dg.AssetKey(FEATURES.split("/")) in stale_assets(instance, graph)[0]
    (tmp_path / "p3.jpg").rename(shop / "p3.jpg")
    second = metadata_of(project.materialize(instance, ENCODE), FEATURES)
    assert (second["dagster/row_count"], second["encoded"], second["reused"]) == (6, 1, False)
    assert issues(project) == []
    assert metadata_of(project.materialize(instance, ENCODE), FEATURES)["reused"]
    assert dg.AssetKey(FEATURES.split("/")) not in stale_assets(instance, graph)[0]


def test_a_picture_half_written_while_it_was_encoded_is_encoded_once_it_is_whole(
    project: TrialProject, instance: dg.DagsterInstance, shop: Path
) -> None:
    project.materialize(instance, *SCAN)
    whole = (shop / "p3.jpg").read_bytes()
    (shop / "p3.jpg").write_bytes(whole[: len(whole) // 2])
    told = metadata_of(project.materialize(instance, ENCODE), FEATURES)
    assert (told["dagster/row_count"], told["changed_since_scanned"]) == (5, 1)
    assert issues(project) == [("picture_not_read_now", "p3.jpg", "it changed since it was scanned")]
    (shop / "p3.jpg").write_bytes(whole)
    assert metadata_of(project.materialize(instance, ENCODE), FEATURES)["dagster/row_count"] == 6
    assert cosine_with_its_own(project, shop / "p3.jpg") == pytest.approx(1)


def test_a_picture_replaced_and_put_back_has_its_own_feature(
    project: TrialProject, instance: dg.DagsterInstance, shop: Path
) -> None:
    project.materialize(instance, *SCAN)
    own = (shop / "p3.jpg").read_bytes()
    shutil.copy(shop / "p4.jpg", shop / "p3.jpg")
    project.materialize(instance, ENCODE)
    (shop / "p3.jpg").write_bytes(own)
    project.materialize(instance, *SCAN, ENCODE)
    assert issues(project) == []
    for picture in shop.iterdir():
        assert cosine_with_its_own(project, picture) == pytest.approx(1)


def test_a_truncated_picture_is_left_out_for_good_and_tried_when_its_bytes_are_others(
    project: TrialProject, instance: dg.DagsterInstance, shop: Path
) -> None:
    whole = (shop / "p3.jpg").read_bytes()
    (shop / "p3.jpg").write_bytes(whole[:-40])
    project.materialize(instance, *SCAN, ENCODE)
    [(kind, subject, _)] = issues(project)
    assert (kind, subject) == ("undecodable_picture", "p3.jpg")
    assert metadata_of(project.materialize(instance, ENCODE), FEATURES)["reused"]
    (shop / "p3.jpg").write_bytes(whole)
    project.materialize(instance, *SCAN, ENCODE)
    assert issues(project) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_a_forbidden_picture_is_encoded_once_it_is_allowed(
    project: TrialProject, instance: dg.DagsterInstance, shop: Path
) -> None:
    project.materialize(instance, *SCAN)
    (shop / "p3.jpg").chmod(0)
    project.materialize(instance, ENCODE)
    assert issues(project) == [("picture_not_read_now", "p3.jpg", "it cannot be read: Permission denied")]
    (shop / "p3.jpg").chmod(0o644)
    assert metadata_of(project.materialize(instance, ENCODE), FEATURES)["dagster/row_count"] == 6


def test_a_drive_that_is_gone_fails_with_the_reason_and_forgets_nothing(
    project: TrialProject, instance: dg.DagsterInstance, shop: Path, tmp_path: Path
) -> None:
    project.materialize(instance, *SCAN)
    for picture in list(shop.iterdir()):
        picture.rename(tmp_path / picture.name)
    with pytest.raises(dg.Failure, match=r"6 of 6 pictures could not be read now .*there is no such file"):
        project.materialize(instance, ENCODE)
    for picture in tmp_path.glob("p?.jpg"):
        picture.rename(shop / picture.name)
    assert metadata_of(project.materialize(instance, ENCODE), FEATURES)["dagster/row_count"] == 6


def test_a_larger_limit_tries_again_what_was_too_much(
    project: TrialProject, instance: dg.DagsterInstance, shop: Path
) -> None:
    content = io.BytesIO()
    Image.effect_noise((40, 30), 90).save(content, "JPEG", progressive=True)
    jpeg = content.getvalue()
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    # Each scan passes over all pixels: 100 are too many at the first limit, and few at the second.
    (shop / "p3.jpg").write_bytes(jpeg[:-2] + 100 * scan + jpeg[-2:])
    source = {"kind": "catalogue", "pictures": str(shop)}
    for limit, left_out in ((1_500, ["p3.jpg"]), (100_000, [])):
        project.write_dataset("shop", source=source, decoding_workers=0, pixel_limit=limit)
        project.materialize(instance, *SCAN, ENCODE)
        assert [subject for _, subject, _ in issues(project)] == left_out


def test_what_is_made_of_the_features_goes_on_without_a_picture_that_could_not_be_read(
    project: TrialProject, instance: dg.DagsterInstance, shop: Path, tmp_path: Path
) -> None:
    source = {"kind": "catalogue", "pictures": str(shop)}
    project.write_dataset("shop", source=source, decoding_workers=0, recipes={})
    project.materialize(instance, *SCAN, 'key:"shop/triplets"')
    (shop / "p3.jpg").rename(tmp_path / "p3.jpg")
    search = 'key:"shop/tiny_clip/zero_shot/search"'
    step = "shop/tiny_clip/zero_shot/search"
    assert metadata_of(project.materialize(instance, ENCODE, search), step)["pictures"] == 5
    (tmp_path / "p3.jpg").rename(shop / "p3.jpg")
    assert metadata_of(project.materialize(instance, ENCODE, search), step)["pictures"] == 6


def test_a_memory_of_the_scan_that_a_power_failure_left_empty_counts_as_none(
    project: TrialProject, instance: dg.DagsterInstance, shop: Path
) -> None:
    project.materialize(instance, *SCAN)
    [memory] = project.storage.tables("shop").glob("memory/stat_memory.parquet")
    memory.write_bytes(b"")
    assert metadata_of(project.materialize(instance, *SCAN), "shop/raw")["pictures"] == 6


@pytest.fixture
def twins(tmp_path: Path) -> Path:
    """One picture upright and as a phone stores it, one on white and as a cut-out."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    (tmp_path / "photo.jpg").write_bytes(picture_bytes("photo"))
    with Image.open(tmp_path / "photo.jpg") as photo:
        photo.save(folder / "upright.png")
        exif = Image.Exif()
        exif[0x0112] = 6
        photo.transpose(Image.Transpose.ROTATE_90).save(folder / "lying.png", exif=exif)
        on_white, cut_out = Image.new("RGB", (64, 64), "white"), Image.new("RGBA", (64, 64))
        for ground in (on_white, cut_out):
            ground.paste(photo, (16, 12))
    on_white.save(folder / "on_white.png")
    cut_out.save(folder / "cut_out.png")
    return folder


def features(project: TrialProject, preprocessing: str) -> dict[str, np.ndarray]:
    """Unit features by picture."""
    images = pl.read_parquet(project.storage.tables("shop") / "images.parquet")
    names = dict(images.select("image_key", "image").iter_rows())
    with open_database(project.storage.features("shop", "tiny_clip"), read_only=True) as connection:
        rows = connection.execute(
            "SELECT image_key, feature FROM image_features WHERE preprocessing = $1", [preprocessing]
        ).fetchall()
    return {names[key]: np.array(feature) / np.linalg.norm(feature) for key, feature in rows}


def test_a_catalogue_is_encoded_as_people_see_it_and_as_stored_where_asked(
    project: TrialProject, instance: dg.DagsterInstance, twins: Path
) -> None:
    source = {"kind": "catalogue", "pictures": str(twins)}
    project.write_dataset("shop", source=source, decoding_workers=0)
    project.materialize(instance, *SCAN, ENCODE)
    seen = features(project, "targetpad1.25@64 as_seen")
    assert seen["lying.png"] @ seen["upright.png"] == pytest.approx(1)
    assert seen["cut_out.png"] @ seen["on_white.png"] == pytest.approx(1)
    project.write_dataset("shop", source={**source, "reading": "reference"}, decoding_workers=0)
    again = project.materialize(instance, *SCAN, ENCODE)
    stored = features(project, "targetpad1.25@64")
    assert metadata_of(again, FEATURES)["encoded"] == 4
    assert stored["lying.png"] @ stored["upright.png"] < 0.99
    assert stored["cut_out.png"] @ stored["on_white.png"] < 0.99
    assert stored["upright.png"] @ seen["upright.png"] == pytest.approx(1)
