"""Publishing disturbs nobody, and what is published is what the parts say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from cir_assets.retrieval.reported_figures import reported_figures
from cir_assets.store.contracts import PUBLISHED_TABLES, VIEWS
from cir_assets.store.database import open_database
from cir_assets.store.publishing import NotPublished, open_publication, publish
from cir_assets.store.results import write_results
from tests.cookbook import TABLES_PAGE, tables_page
from tests.store.test_results import frames, rows


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
    with open_database(database) as connection:
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
