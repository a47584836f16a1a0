"""Results are added whole or not at all, history is kept, and publishing disturbs nobody."""

from __future__ import annotations

import resource
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from cir_assets.retrieval.protocols import RENAMED, named_as_today, protocol_table
from cir_assets.store.contracts import RESULTS
from cir_assets.store.database import open_database
from cir_assets.store.publishing import publish
from cir_assets.store.results import KEPT_EVALUATIONS, write_results


def frames(evaluation: str, day: int = 0, headline: float = 50.0) -> dict[str, pl.DataFrame]:
    made = datetime(2026, 1, 1) + timedelta(days=day)
    evaluations = pl.DataFrame(
        [
            {
                "evaluation_id": evaluation,
                "dataset": "fashioniq",
                "backbone": "rn50x4",
                "recipe": "paper",
                "models_from": "fashioniq/rn50x4/paper",
                "method": "combiner",
                "split": "val",
                "protocol": "fashioniq",
                "text_template": "relative_caption",
                "queries": 2,
                "gallery_size": 9,
                "created_at": made,
                "run_id": "r",
                "data_version": "v",
                "seconds": 1.0,
                "label": None,
                "measured_by": None,
                "share": None,
                "served_because": None,
            }
        ]
    )
    metrics = pl.DataFrame(
        [
            {
                "evaluation_id": evaluation,
                "category": "mean",
                "metric": metric,
                "k": k,
                "value": value,
                "ci_low": value - 1,
                "ci_high": value + 1,
                "queries": 2,
                "gallery_size": 9,
                "chance": 20.0,
            }
            for metric, k, value in (("headline", 0, headline), ("recall", 10, 40.0), ("recall", 50, 60.0))
        ]
    )
    left_out = pl.DataFrame(
        [
            {
                "evaluation_id": evaluation,
                "category": "dress",
                "reason": "target_without_feature",
                "count": 1,
            }
        ]
    )
    rankings = pl.DataFrame(
        [
            {
                "evaluation_id": evaluation,
                "query_id": "q",
                "category": "dress",
                "reference": "a",
                "caption": "is red",
                "target": "b",
                "target_rank": 1,
                "target_score": 0.5,
                "subset_rank": None,
                "text_weight": 0.4,
            }
        ]
    )
    retrieved = pl.DataFrame(
        [{"evaluation_id": evaluation, "query_id": "q", "rank": 1, "image": "b", "score": 0.5}]
    )
    epochs = pl.DataFrame(
        [
            {
                "dataset": "fashioniq",
                "backbone": "rn50x4",
                "recipe": "paper",
                "stage": "combiner",
                "version": "v1",
                "epoch": 1,
                "step": 3,
                "loss": 2.0,
                "learning_rate": 1e-4,
                "selection_metric": 50.0,
                "seconds": 1.0,
                "settings": None,
            }
        ]
    )
    made_frames = (evaluations, metrics, left_out, rankings, retrieved, epochs)
    return {table.name: frame for table, frame in zip(RESULTS, made_frames, strict=True)}


def rows(file: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.sql(query).fetchall()


def test_an_evaluation_made_again_is_replaced_and_others_stay(tmp_path: Path) -> None:
    file = tmp_path / "r.duckdb"
    write_results(file, frames("one"))
    write_results(file, frames("two", day=1))
    write_results(file, frames("one", day=2, headline=70.0))
    assert rows(file, "SELECT evaluation_id, value FROM metrics WHERE k = 0 ORDER BY 1") == [
        ("one", 70.0),
        ("two", 50.0),
    ]
    assert rows(file, "SELECT count(*) FROM training_epochs") == [(1,)]


def test_old_evaluations_keep_their_metrics_and_lose_their_rankings(tmp_path: Path) -> None:
    file = tmp_path / "r.duckdb"
    for day in range(KEPT_EVALUATIONS + 2):
        write_results(file, frames(f"e{day}", day=day))
    assert rows(file, "SELECT count(DISTINCT evaluation_id) FROM metrics") == [(KEPT_EVALUATIONS + 2,)]
    assert rows(file, "SELECT min(evaluation_id), count(*) FROM rankings") == [("e2", KEPT_EVALUATIONS)]


def test_a_frame_without_its_columns_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "r.duckdb"
    write_results(file, frames("one"))
    broken = frames("two")
    broken["rankings"] = broken["rankings"].drop("target_rank")
    with pytest.raises(ValueError, match="rankings lacks the columns target_rank"):
        write_results(file, broken)
    assert rows(file, "SELECT evaluation_id FROM evaluations") == [("one",)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".r.duckdb.lock", "r.duckdb"]


def test_no_space_left_is_said_once_and_the_old_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "r.duckdb"
    write_results(file, frames("one"))
    before = file.read_bytes()
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from tests.store.test_results import frames
from cir_assets.store.results import write_results
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
write_results(Path({str(file)!r}), frames("two"))
"""
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "no space left to write" in failed.stderr
    assert "it is unchanged" in failed.stderr
    assert file.read_bytes() == before
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4096


def test_results_of_an_older_form_are_kept_and_gain_what_is_new(tmp_path: Path) -> None:
    file, destination = tmp_path / "old.duckdb", tmp_path / "evaluation.duckdb"
    write_results(file, frames("old"))
    with open_database(file) as connection:
        connection.execute("ALTER TABLE evaluations DROP COLUMN models_from")
        connection.execute("DROP TABLE left_out")
    publish([file], {}, destination)
    with open_database(destination, read_only=True) as connection:
        assert connection.sql("SELECT evaluation_id, models_from FROM evaluations").fetchall() == [
            ("old", None)
        ]
    write_results(file, frames("new", day=1))
    with open_database(file, read_only=True) as connection:
        rows = connection.sql("SELECT evaluation_id, models_from FROM evaluations ORDER BY 1").fetchall()
        assert rows == [("new", "fashioniq/rn50x4/paper"), ("old", None)]
        assert connection.sql("SELECT count(*) FROM left_out").fetchall() == [(1,)]


def test_damaged_results_are_set_aside_and_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "r.duckdb"
    write_results(file, frames("one"))
    content = bytearray(file.read_bytes())
    content[4096 + 40] ^= 0xFF
    file.write_bytes(content)
    write_results(file, frames("two"))
    assert rows(file, "SELECT evaluation_id FROM evaluations") == [("two",)]
    assert (tmp_path / "r.duckdb.damaged").read_bytes() == content


def test_what_a_protocol_was_called_before_it_said_which_text_is_read_is_told_by_its_name_now(
    tmp_path: Path,
) -> None:
    """``fashioniq_val_split`` kept the reference; a row made then is no figure of what the name means now."""
    file, destination = tmp_path / "old.duckdb", tmp_path / "evaluation.duckdb"
    old = frames("old")
    old["evaluations"] = old["evaluations"].with_columns(protocol=pl.lit("fashioniq_val_split"))
    write_results(file, old)
    with open_database(file) as connection:
        connection.execute("ALTER TABLE evaluations DROP COLUMN text_template")
        connection.execute("ALTER TABLE evaluations DROP COLUMN measured_by")
    kept = read(file)
    assert named_as_today(kept)["protocol"].to_list() == ["fashioniq_val_split_with_reference"]
    fresh = frames("new", day=1)
    fresh["evaluations"] = fresh["evaluations"].with_columns(protocol=pl.lit("fashioniq_val_split"))
    write_results(file, fresh)
    names = ["fashioniq_val_split_with_reference", "fashioniq_val_split"]
    assert named_as_today(read(file))["protocol"].to_list() == names
    publish([file], {}, destination, protocols=protocol_table(), renamed=RENAMED)
    told = (
        "SELECT evaluation_id, e.protocol, p.reference, e.text_template FROM evaluations e JOIN protocols p "
    )
    assert rows(destination, f"{told} USING (protocol) ORDER BY 1 DESC") == [
        ("old", names[0], "kept", "relative_caption"),
        ("new", names[1], "left out", "relative_caption"),
    ]


def read(file: Path) -> pl.DataFrame:
    """A results file's evaluations, oldest first."""
    with duckdb.connect(str(file), read_only=True) as connection:
        return pl.DataFrame(connection.sql("SELECT * FROM evaluations ORDER BY created_at").to_arrow_table())
