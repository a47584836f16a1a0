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

from cir_assets.retrieval.reported_figures import reported_figures
from cir_assets.store.contracts import PUBLISHED_TABLES, RESULTS, VIEWS
from cir_assets.store.database import opened
from cir_assets.store.publishing import NotPublished, open_publication, publish
from cir_assets.store.results import KEPT_EVALUATIONS, write_results
from tests.cookbook import TABLES_PAGE, tables_page


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
                "queries": 2,
                "gallery_size": 9,
                "created_at": made,
                "run_id": "r",
                "data_version": "v",
                "seconds": 1.0,
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


def test_the_leaderboard_shows_the_newest_evaluation_headline_first(tmp_path: Path) -> None:
    part, published = tmp_path / "part.duckdb", tmp_path / "evaluation.duckdb"
    write_results(part, frames("old", day=0, headline=90.0))
    write_results(part, frames("new", day=1, headline=55.0))
    publish([part], {}, published)
    assert rows(published, "SELECT evaluation_id, headline, recall_at_10 FROM leaderboard") == [
        ("new", 55.0, 40.0)
    ]


def test_published_figures_stand_beside_ours_only_where_everything_agrees(tmp_path: Path) -> None:
    part, published = tmp_path / "part.duckdb", tmp_path / "evaluation.duckdb"
    write_results(part, frames("one", headline=51.0))
    publish([part], {}, published, figures=reported_figures())
    compared = rows(
        published,
        "SELECT metric, k, ours, published, difference FROM against_published WHERE venue = 'CVPRW 2022' ORDER BY k",
    )
    assert compared == [
        ("headline", 0, 51.0, 50.03, 0.97),
        ("recall", 10, 40.0, 38.32, 1.68),
        ("recall", 50, 60.0, 61.74, -1.74),
    ]
    assert rows(published, "SELECT DISTINCT dataset FROM against_published") == [("fashioniq",)]


def test_whoever_holds_the_published_file_keeps_reading_it(tmp_path: Path) -> None:
    part, published = tmp_path / "part.duckdb", tmp_path / "evaluation.duckdb"
    write_results(part, frames("one"))
    publish([part], {}, published)
    with duckdb.connect(str(published), read_only=True) as held:
        write_results(part, frames("two", day=1))
        publish([part], {}, published)
        publish([part], {}, published)
        assert held.sql("SELECT count(*) FROM evaluations").fetchall() == [(1,)]
    assert rows(published, "SELECT count(*) FROM evaluations") == [(2,)]
    assert [path.name for path in tmp_path.glob("*wal*")] == []


def test_every_published_figure_has_a_source() -> None:
    frame = reported_figures()
    assert frame.filter(pl.col("source").str.len_chars() < 10).is_empty()
    paper = frame.filter((pl.col("venue") == "CVPRW 2022") & (pl.col("dataset") == "fashioniq"))
    assert paper.filter(pl.col("category") == "mean").select("metric", "k", "value").rows() == [
        ("recall", 10, 38.32),
        ("recall", 50, 61.74),
        ("headline", 0, 50.03),
    ]


def test_results_of_an_older_form_are_kept_and_gain_what_is_new(tmp_path: Path) -> None:
    file, destination = tmp_path / "old.duckdb", tmp_path / "evaluation.duckdb"
    write_results(file, frames("old"))
    with opened(file) as connection:
        connection.execute("ALTER TABLE evaluations DROP COLUMN models_from")
        connection.execute("DROP TABLE left_out")
    publish([file], {}, destination)
    with opened(destination, read_only=True) as connection:
        assert connection.sql("SELECT evaluation_id, models_from FROM evaluations").fetchall() == [
            ("old", None)
        ]
    write_results(file, frames("new", day=1))
    with opened(file, read_only=True) as connection:
        rows = connection.sql("SELECT evaluation_id, models_from FROM evaluations ORDER BY 1").fetchall()
        assert rows == [("new", "fashioniq/rn50x4/paper"), ("old", None)]
        assert connection.sql("SELECT count(*) FROM left_out").fetchall() == [(1,)]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A published database with one evaluation."""
    write_results(tmp_path / "part.duckdb", frames("one"))
    publish([tmp_path / "part.duckdb"], {}, tmp_path / "evaluation.duckdb")
    return tmp_path / "evaluation.duckdb"


def test_a_database_another_process_writes_in_names_who_and_what_to_do(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cir_assets.store.publishing.WAIT_SECONDS", 0.3)
    code = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(
                NotPublished, match=rf"held open for writing by process {holder.pid} .*close it there"
            ),
            open_publication(database),
        ):
            pass
        holder.communicate("\n")
    with open_publication(database) as connection:
        assert connection.sql("SELECT count(*) FROM leaderboard").fetchall() == [(1,)]


def test_a_view_of_an_older_form_is_said_to_be_one(database: Path) -> None:
    with opened(database) as connection:
        connection.execute("DROP VIEW against_published")
        connection.execute("CREATE OR REPLACE VIEW leaderboard AS SELECT evaluation_id FROM evaluations")
    with (
        pytest.raises(NotPublished, match=r"it lacks leaderboard\.dataset.* and \d+ more; materialize"),
        open_publication(database),
    ):
        pass


def test_every_column_of_every_table_and_view_explains_itself(database: Path) -> None:
    said = rows(
        database,
        "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal",
    )
    assert {name for name, *_ in said} == {table.name for table in (*PUBLISHED_TABLES, *VIEWS)}
    assert [column for *column, comment in said if not comment] == []


def test_the_database_and_the_page_of_tables_say_what_the_contracts_say(database: Path) -> None:
    said = rows(
        database,
        "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal "
        "ORDER BY table_name, column_index",
    )
    assert said == [
        (table.name, column.name, column.sql_type, column.meaning)
        for table in sorted((*PUBLISHED_TABLES, *VIEWS), key=lambda table: table.name)
        for column in table.columns
    ]
    meanings = (
        "SELECT table_name, comment FROM duckdb_tables() UNION SELECT view_name, comment FROM duckdb_views()"
    )
    assert {(table.name, table.meaning) for table in (*PUBLISHED_TABLES, *VIEWS)} <= set(
        rows(database, meanings)
    )
    written_anew = "docs/tables.md is of older contracts: python -m tests.cookbook"
    assert TABLES_PAGE.read_text(encoding="utf-8") == tables_page(), written_anew


def test_changes_somebody_left_beside_the_published_database_are_not_read_as_figures(database: Path) -> None:
    log = database.with_name("evaluation.duckdb.wal")
    log.write_bytes(b"changes")
    with (
        pytest.raises(NotPublished, match=r"left changes in evaluation\.duckdb\.wal"),
        open_publication(database),
    ):
        pass
    publish([], {}, database)
    assert not log.exists()
    with open_publication(database):
        pass


def test_a_part_that_does_not_read_is_left_out_with_a_sentence_and_the_others_are_published(
    tmp_path: Path,
) -> None:
    good, bad, champions = tmp_path / "good.duckdb", tmp_path / "bad.duckdb", tmp_path / "champions.parquet"
    write_results(good, frames("one"))
    write_results(bad, frames("two"))
    content = bytearray(bad.read_bytes())
    content[4096 + 40] ^= 0xFF
    bad.write_bytes(content)
    champions.write_bytes(b"PAR1 of a kind")
    left_out = publish([good, bad], {}, tmp_path / "evaluation.duckdb", [champions])
    assert [said.split(" is left out")[0] for said in left_out] == [str(bad), str(champions)]
    assert rows(tmp_path / "evaluation.duckdb", "SELECT evaluation_id FROM leaderboard") == [("one",)]


def test_damaged_results_are_set_aside_and_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "r.duckdb"
    write_results(file, frames("one"))
    content = bytearray(file.read_bytes())
    content[4096 + 40] ^= 0xFF
    file.write_bytes(content)
    write_results(file, frames("two"))
    assert rows(file, "SELECT evaluation_id FROM evaluations") == [("two",)]
    assert (tmp_path / "r.duckdb.damaged").read_bytes() == content
