"""The feature cache gives back what was put in, in the order asked, and only lacks what was never encoded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.measuring import memory_peak_above_now
from cir_assets.store import feature_cache
from cir_assets.store.database import DatabaseLocked, open_database
from cir_assets.store.feature_cache import FeatureCache, NotEncoded

KEYS = [f"{number:064x}" for number in range(50)]


def filled(path: Path, dimension: int = 8) -> tuple[FeatureCache, NDArray[np.float32]]:
    features = np.random.default_rng(1).standard_normal((len(KEYS), dimension)).astype(np.float32)
    cache = FeatureCache(path, wait_seconds=0.3)
    with cache.writing("clip@64", "b1", dimension) as rows:
        rows.add(KEYS[:30], features[:30])
        rows.add(KEYS[30:], features[30:])
    return cache, features


@settings(max_examples=20, deadline=None)
@given(asked=st.lists(st.integers(0, len(KEYS) - 1), min_size=1, max_size=80))
def test_features_come_back_in_the_order_asked(
    tmp_path_factory: pytest.TempPathFactory, asked: list[int]
) -> None:
    cache, features = filled(tmp_path_factory.mktemp("cache") / "f.duckdb")
    found = cache.matrix([KEYS[number] for number in asked], "clip@64", "b1")
    assert np.array_equal(found, features[asked])
    assert found.flags.writeable


def test_only_what_was_never_encoded_is_missing(tmp_path: Path) -> None:
    cache, _ = filled(tmp_path / "f.duckdb")
    assert cache.missing([*KEYS, "new", "new"], "clip@64", "b1") == ["new"]
    assert cache.missing(KEYS[:2], "clip@32", "b1") == KEYS[:2]
    assert cache.missing(KEYS[:2], "clip@64", "b2") == KEYS[:2]
    assert FeatureCache(tmp_path / "none.duckdb").missing(KEYS[:2], "clip@64", "b1") == KEYS[:2]


def test_unreadable_pictures_are_remembered_with_their_reason(tmp_path: Path) -> None:
    cache, _ = filled(tmp_path / "f.duckdb")
    with cache.writing("clip@64", "b1", 8) as rows:
        rows.unreadable("broken", "truncated")
    assert cache.missing(["broken", "new"], "clip@64", "b1") == ["new"]
    assert cache.not_encoded(["broken", KEYS[0]], "clip@64", "b1") == {
        "broken": NotEncoded("truncated", False)
    }


def test_what_could_not_be_read_at_a_moment_is_told_and_stays_missing(tmp_path: Path) -> None:
    cache, _ = filled(tmp_path / "f.duckdb")
    with cache.writing("clip@64", "b1", 8) as rows:
        rows.not_read_now("away", "there is no such file")
    assert cache.missing(["away"], "clip@64", "b1") == ["away"]
    told = {"away": NotEncoded("there is no such file", True)}
    assert cache.not_encoded(["away"], "clip@64", "b1") == told
    with cache.writing("clip@64", "b1", 8) as rows:
        rows.add(["away"], np.ones((1, 8), np.float32))
    assert cache.missing(["away"], "clip@64", "b1") == []
    assert cache.not_encoded(["away"], "clip@64", "b1") == {}


def test_a_verdict_holds_only_under_what_it_was_judged_by(tmp_path: Path) -> None:
    cache, _ = filled(tmp_path / "f.duckdb")
    with cache.writing("clip@64", "b1", 8, "at most 100 pixels") as rows:
        rows.unreadable("large", "more than 100 pixels")
    assert cache.missing(["large"], "clip@64", "b1", "at most 100 pixels") == []
    assert cache.missing(["large"], "clip@64", "b1", "at most 200 pixels") == ["large"]
    with cache.writing("clip@64", "b1", 8, "at most 200 pixels") as rows:
        rows.add(["large"], np.ones((1, 8), np.float32))
    assert cache.not_encoded(["large"], "clip@64", "b1") == {}


def test_what_an_older_version_called_unreadable_is_tried_again(tmp_path: Path) -> None:
    cache, features = filled(tmp_path / "f.duckdb")
    with open_database(tmp_path / "f.duckdb") as connection:
        connection.execute("DROP TABLE not_encoded")
        connection.execute(
            "CREATE TABLE unreadable (image_key VARCHAR, preprocessing VARCHAR, reason VARCHAR)"
        )
        connection.execute("INSERT INTO unreadable VALUES ('away', 'clip@64', 'there is no such file')")
    assert cache.missing([*KEYS, "away"], "clip@64", "b1") == ["away"]
    assert cache.not_encoded(["away"], "clip@64", "b1") == {}
    with cache.writing("clip@64", "b1", 8) as rows:
        rows.add(["away"], np.ones((1, 8), np.float32))
    assert cache.missing(["away"], "clip@64", "b1") == []
    assert np.array_equal(cache.matrix(KEYS, "clip@64", "b1"), features)


def test_a_feature_that_is_not_there_is_named(tmp_path: Path) -> None:
    cache, _ = filled(tmp_path / "f.duckdb")
    with pytest.raises(KeyError, match="1 of 2 pictures have no feature"):
        cache.matrix([KEYS[0], "absent"], "clip@64", "b1")


def test_another_dimension_starts_anew_and_keeps_the_old_file_beside(tmp_path: Path) -> None:
    cache, features = filled(tmp_path / "f.duckdb")
    with cache.writing("clip@64", "b2", 4) as rows:
        rows.add(["a"], np.ones((1, 4), np.float32))
    assert cache.dimension() == 4
    kept = FeatureCache(tmp_path / "f.8.duckdb")
    assert np.array_equal(kept.matrix(KEYS, "clip@64", "b1"), features)


def test_wrong_shapes_are_refused(tmp_path: Path) -> None:
    cache, _ = filled(tmp_path / "f.duckdb")
    with (
        pytest.raises(ValueError, match="for 2 pictures and dimension 8"),
        cache.writing("clip@64", "b1", 8) as rows,
    ):
        rows.add(["x", "y"], np.ones((1, 8), np.float32))


def test_a_file_held_by_another_process_is_waited_for_and_then_named(tmp_path: Path) -> None:
    cache, _ = filled(tmp_path / "f.duckdb")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import duckdb; c = duckdb.connect({str(cache.path)!r}); print('held', flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(DatabaseLocked, match=rf"held by process {holder.pid} .*close it"):
            cache.missing(KEYS, "clip@64", "b1")
    finally:
        holder.kill()
        holder.wait()
    assert cache.missing(KEYS, "clip@64", "b1") == []


def test_reading_a_file_that_was_never_written_says_so(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match="is not there yet"),
        open_database(tmp_path / "x.duckdb", read_only=True),
    ):
        pass


def test_what_does_not_fit_in_the_memory_set_aside_for_reading_is_read_with_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "READING_MEGABYTES", 1)
    cache, features = filled(tmp_path / "f.duckdb", dimension=4096)
    assert np.array_equal(cache.matrix(KEYS[::-1], "clip@64", "b1"), features[::-1])


def test_what_does_not_fit_in_the_memory_set_aside_for_writing_is_written_with_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "WRITING_MEGABYTES", 1)
    monkeypatch.setattr(feature_cache, "FLUSH_ROWS", 2)
    cache, features = filled(tmp_path / "f.duckdb", dimension=4096)
    assert np.array_equal(cache.matrix(KEYS, "clip@64", "b1"), features)


def test_a_picture_added_again_stays_one_row(tmp_path: Path) -> None:
    cache, features = filled(tmp_path / "f.duckdb")
    with cache.writing("clip@64", "b1", features.shape[1]) as rows:
        rows.add([*KEYS, "new"], np.zeros((len(KEYS) + 1, features.shape[1]), dtype=np.float32))
    with duckdb.connect(str(cache.path), read_only=True) as connection:
        assert connection.sql("SELECT count(*) FROM image_features").fetchall() == [(len(KEYS) + 1,)]
    assert np.array_equal(cache.matrix(KEYS, "clip@64", "b1"), features)


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="this system does not tell a peak of memory"
)
def test_memory_stays_flat_however_many_rows_are_written(tmp_path: Path) -> None:
    random = np.random.default_rng(1)

    def write() -> None:
        with FeatureCache(tmp_path / "f.duckdb").writing("clip@64", "b1", 640) as rows:
            for start in range(0, 80_000, 2_000):
                keys = [f"{number:064x}" for number in range(start, start + 2_000)]
                rows.add(keys, random.standard_normal((2_000, 640), dtype=np.float32))

    # Of 205 MB of features DuckDB, left to itself, holds all and more.
    assert memory_peak_above_now(write) < feature_cache.WRITING_MEGABYTES + 60
