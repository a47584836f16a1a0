"""Pictures and sentences that people made run through the same graph as the embedded data set."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import duckdb
import polars as pl

from tests.trial_project import TrialProject, metadata_of


def test_a_catalogue_of_real_sentences_runs_whole_with_subset_recall(
    project: TrialProject, instance: dg.DagsterInstance, real_data: Path
) -> None:
    catalogue = real_data / "nlvr-catalogue"
    project.write_dataset(
        "nlvr",
        source={
            "kind": "catalogue",
            "pictures": str(catalogue / "images"),
            "triplets": str(catalogue / "triplets.csv"),
        },
        protocols=["cirr", "fashioniq"],
    )
    assert len(project.yaml("nlvr").read_text().splitlines()) <= 24
    assert project.materialize(instance, 'key:"nlvr/*"', 'key:"leaderboard"').success
    with duckdb.connect(str(project.storage.evaluation), read_only=True) as published:
        counts = published.sql(
            "SELECT split, count(*) FROM triplets GROUP BY split ORDER BY split"
        ).fetchall()
        assert counts == [("test", 137), ("train", 533), ("val", 164)]
        assert published.sql("SELECT count(*) FROM images").fetchall() == [(989,)]
        queries = published.sql(
            "SELECT DISTINCT split, queries FROM evaluations WHERE protocol = 'cirr' ORDER BY split"
        ).fetchall()
        assert queries == [("test", 137), ("val", 164)]
        subset = published.sql(
            "SELECT min(subset_recall_at_1), max(subset_recall_at_3) FROM leaderboard WHERE protocol = 'cirr'"
        ).fetchall()
        assert 0 <= subset[0][0] <= subset[0][1] <= 100


def test_real_photos_are_decoded_and_broken_ones_are_left_out_by_name(
    project: TrialProject, instance: dg.DagsterInstance, real_data: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    originals = sorted((real_data / "clothing-photos" / "images").iterdir())
    for photo in originals:
        (photos / photo.name).symlink_to(photo)
    whole = originals[0].read_bytes()
    (photos / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "text.jpg").write_text("no picture at all")
    project.write_dataset("photos", source={"kind": "catalogue", "pictures": str(photos)})
    result = project.materialize(
        instance, 'key:"photos/raw"', 'key:"photos/images"', 'key:"photos/tiny_clip/image_features"'
    )
    assert result.success
    features = metadata_of(result, "photos/tiny_clip/image_features")
    assert features["encoded"] == 92 - 1
    assert features["dagster/row_count"] == len(originals)
    issues = pl.concat(
        pl.read_parquet(file) for file in (project.storage.tables("photos") / "data_issues").glob("*.parquet")
    )
    reasons = {subject: (kind, detail) for kind, subject, detail in issues.iter_rows()}
    assert set(reasons) == {"truncated.jpg", "text.jpg"}
    assert reasons["text.jpg"][0] == "unreadable_picture"
    assert reasons["truncated.jpg"][0] == "undecodable_picture"
    assert "truncated" in reasons["truncated.jpg"][1]
