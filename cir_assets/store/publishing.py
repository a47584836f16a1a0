"""The database people query: every pipeline's results in one file, published whole, never written in place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import duckdb
import polars as pl

from cir_assets.store.contracts import (
    AGAINST_PUBLISHED,
    EVALUATIONS,
    LEADERBOARD,
    OF_DATA_SETS,
    ONE_MODALITY,
    PROMOTIONS,
    PROTOCOLS,
    PUBLISHED_RESULTS,
    PUBLISHED_TABLES,
    RESULTS,
    VIEWS,
    Table,
)
from cir_assets.store.database import DamagedDatabase, DatabaseLocked, log_of, open_database, replace_database
from cir_assets.store.declaring import create_tables, explain
from cir_assets.store.files import CannotLock

QUERIES: Mapping[str, str] = {
    LEADERBOARD.name: """
        WITH newest AS (
            SELECT * FROM evaluations QUALIFY row_number() OVER (
                PARTITION BY dataset, backbone, recipe, method, split, protocol
                ORDER BY created_at DESC, evaluation_id) = 1),
        figures AS (SELECT * FROM metrics WHERE category = 'mean')
        SELECT dataset, backbone, recipe, split, protocol, method,
            max(value) FILTER (metric = 'headline') AS headline,
            max(ci_low) FILTER (metric = 'headline') AS headline_low,
            max(ci_high) FILTER (metric = 'headline') AS headline_high,
            max(chance) FILTER (metric = 'headline') AS chance,
            max(value) FILTER (metric = 'recall' AND k = 1) AS recall_at_1,
            max(value) FILTER (metric = 'recall' AND k = 5) AS recall_at_5,
            max(value) FILTER (metric = 'recall' AND k = 10) AS recall_at_10,
            max(ci_low) FILTER (metric = 'recall' AND k = 10) AS recall_at_10_low,
            max(ci_high) FILTER (metric = 'recall' AND k = 10) AS recall_at_10_high,
            max(value) FILTER (metric = 'recall' AND k = 50) AS recall_at_50,
            max(ci_low) FILTER (metric = 'recall' AND k = 50) AS recall_at_50_low,
            max(ci_high) FILTER (metric = 'recall' AND k = 50) AS recall_at_50_high,
            max(value) FILTER (metric = 'subset_recall' AND k = 1) AS subset_recall_at_1,
            max(value) FILTER (metric = 'subset_recall' AND k = 2) AS subset_recall_at_2,
            max(value) FILTER (metric = 'subset_recall' AND k = 3) AS subset_recall_at_3,
            any_value(newest.queries) AS queries, any_value(newest.gallery_size) AS gallery_size,
            any_value(created_at) AS created_at, evaluation_id, any_value(label) AS label
        FROM newest LEFT JOIN figures USING (evaluation_id)
        GROUP BY ALL ORDER BY dataset, split, protocol, headline DESC
        """,
    ONE_MODALITY.name: """
        WITH asked AS (
            SELECT l.dataset, l.backbone, l.recipe, l.split, l.protocol, l.method, m.k, r.category, r.query_id,
                r.target_rank <= m.k AS found
            FROM leaderboard AS l JOIN metrics AS m USING (evaluation_id) JOIN rankings AS r USING (evaluation_id)
            WHERE m.metric = 'recall' AND m.category = 'mean'),
        alone AS (
            SELECT dataset, backbone, recipe, split, protocol, k, category, query_id,
                bool_or(found) FILTER (method = 'image_only') AS by_image,
                bool_or(found) FILTER (method = 'text_only') AS by_text
            FROM asked GROUP BY ALL)
        SELECT dataset, backbone, recipe, split, protocol, k, method, count(*)::INTEGER AS queries,
            100 * avg(by_image::INTEGER) AS image_only, 100 * avg(by_text::INTEGER) AS text_only,
            100 * avg((by_image OR by_text)::INTEGER) AS either,
            100 * avg((NOT by_image AND NOT by_text)::INTEGER) AS neither,
            100 * avg(found::INTEGER) AS recall,
            count(*) FILTER (NOT by_image AND NOT by_text)::INTEGER AS queries_left,
            100 * avg(found::INTEGER) FILTER (NOT by_image AND NOT by_text) AS recall_left
        FROM asked JOIN alone USING (dataset, backbone, recipe, split, protocol, k, category, query_id)
        WHERE by_image IS NOT NULL AND by_text IS NOT NULL
        GROUP BY ALL ORDER BY dataset, backbone, recipe, split, protocol, k, recall_left DESC NULLS LAST, method
        """,
    AGAINST_PUBLISHED.name: """
        SELECT p.dataset, p.split, p.protocol, p.category, p.metric, p.k,
            l.backbone, l.recipe, l.method, m.value AS ours, m.ci_low, m.ci_high,
            p.system, p.backbone AS published_backbone, p.supervision, p.venue, p.year, p.value AS published,
            round(m.value - p.value, 2) AS difference, p.source
        FROM leaderboard AS l JOIN metrics AS m USING (evaluation_id)
        JOIN published_results AS p ON (p.dataset, p.split, p.protocol, p.category, p.metric, p.k)
            = (l.dataset, l.split, l.protocol, m.category, m.metric, m.k)
        ORDER BY ALL
        """,
}
"""View -> its query."""

WAIT_SECONDS = 3.0
"""How long the published database is waited for where another process holds it open for writing."""


def publish(
    results: Sequence[Path],
    tables: Mapping[str, Path],
    destination: Path,
    promotions: Sequence[Path] = (),
    figures: pl.DataFrame | None = None,
    protocols: pl.DataFrame | None = None,
    renamed: Mapping[str, str] | None = None,
) -> list[str]:
    """Merge every pipeline's results and every data set's tables into one database, replaced whole.

    People may hold the destination open in any client meanwhile: they keep reading the copy they opened. What is
    published is closed to writers. A part that does not read is left out; the others are published.

    Args:
        results: the pipelines' results files.
        tables: data set -> folder of its Parquet tables (images, galleries, triplets, data_issues/*).
        destination: ``storage/evaluation.duckdb``.
        promotions: the pipelines' decisions about champions, as Parquet files.
        figures: what others published, with the columns of ``PUBLISHED_RESULTS``; none if None.
        protocols: what every protocol means, as ``PROTOCOLS``; none if None.
        renamed: what a protocol was called in results that do not say which text was read -> its name now.

    Returns:
        A sentence for each part that was left out: which file, what is wrong, and how to mend it.
    """
    left_out: list[str] = []

    def take(part: Path, insert: Callable[[], object], mend: str) -> None:
        """All rows of a part, or none of them and a sentence."""
        try:
            insert()
        except duckdb.Error as error:
            why = str(error).splitlines()[0]
            left_out.append(f"{part} is left out, it does not read ({why}): move it away and {mend}")

    with replace_database(destination, keep=False, closed_to_writers=True) as connection:
        create_tables(connection, PUBLISHED_TABLES)
        for part in sorted(results):
            mend = f"materialize {'/'.join(part.with_suffix('').parts[-3:])}/evaluation"
            take(part, partial(_insert_results, connection, part), mend)
        for dataset, folder in sorted(tables.items()):
            for table in OF_DATA_SETS:
                files = sorted(folder.glob(f"{table.name}.parquet"))
                files = files or sorted(folder.glob(f"{table.name}/*.parquet"))
                # By name: a table written before a column came to be is taken as it is.
                insert = f"INSERT INTO {table.name} BY NAME SELECT $1 AS dataset, * FROM read_parquet($2)"
                for file in files:
                    rows = partial(connection.execute, insert, [dataset, str(file)])
                    take(file, rows, f"materialize the assets of {dataset} again")
        for file in promotions:
            insert = f"INSERT INTO {PROMOTIONS.name} BY NAME SELECT * FROM read_parquet($1)"
            rows = partial(connection.execute, insert, [str(file)])
            take(file, rows, "put it back from a copy")
        for frame, table in ((figures, PUBLISHED_RESULTS), (protocols, PROTOCOLS)):
            if frame is not None:
                _insert_frame(connection, frame, table)
        _say_what_was_read(connection, renamed or {})
        for view in VIEWS:
            connection.execute(f"CREATE VIEW {view.name} AS {QUERIES[view.name]}")
            explain(connection, "VIEW", view)
    return left_out


def _insert_results(connection: duckdb.DuckDBPyConnection, part: Path) -> None:
    """One pipeline's results; a file written before a column or table came to be is taken as it is."""
    connection.execute(f"ATTACH '{_escaped(part)}' AS part (READ_ONLY)")
    try:
        connection.execute("BEGIN")
        for table in RESULTS:
            there = {
                name
                for (name,) in connection.execute(
                    "SELECT column_name FROM duckdb_columns() WHERE database_name = 'part' AND table_name = $1",
                    [table.name],
                ).fetchall()
            }
            if there:
                listed = ", ".join(f'"{name}"' if name in there else "NULL" for name in table.names)
                connection.execute(f"INSERT INTO {table.name} SELECT {listed} FROM part.{table.name}")
        connection.execute("COMMIT")
    except duckdb.Error:
        connection.execute("ROLLBACK")
        raise
    finally:
        connection.execute("DETACH part")


class NotPublished(RuntimeError):
    """There is no published database that can be read now; the message says what to do."""


@contextmanager
def open_publication(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published database, open for reading, with every table and column this version knows.

    Raises:
        NotPublished: when it is absent, no database, held by another process, or was written by an older version.
    """
    mend = "materialize the asset leaderboard, or run make demo"
    if not file.is_file():
        raise NotPublished(f"{file} is not there: {mend}")
    if (log := log_of(file)).exists():
        raise NotPublished(
            f"somebody opened {file} for writing and left changes in {log.name} beside it, so that it would show what "
            f"was never published: close it there, then {mend}, which removes them. Open it for reading only"
        )
    try:
        with open_database(file, read_only=True, wait_seconds=WAIT_SECONDS) as connection:
            columns_there = set(
                connection.execute(
                    "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = current_database()"
                ).fetchall()
            )
            lacking = [
                f"{table.name}.{column}"
                for table in (*PUBLISHED_TABLES, *VIEWS)
                for column in table.names
                if (table.name, column) not in columns_there
            ]
            if lacking:
                more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
                raise NotPublished(
                    f"{file} is of an older form: it lacks {', '.join(lacking[:3])}{more}; {mend}"
                )
            yield connection
    except DatabaseLocked as error:
        raise NotPublished(
            f"{file} is held open for writing by {error.holder}: close it there, or open it for reading only, "
            "and try again"
        ) from error
    except (duckdb.IOException, CannotLock, DamagedDatabase) as error:
        raise NotPublished(f"{file} is no database DuckDB can read ({error}); {mend}") from error


def content_digest(
    results: Sequence[Path], tables: Mapping[str, Path], promotions: Sequence[Path] = ()
) -> str:
    """Version of what would be published: the digest of every part's bytes, by name."""
    content = hashlib.sha256()
    parts = [
        *sorted(results),
        *sorted(promotions),
        *(file for folder in sorted(tables.values()) for file in sorted(folder.rglob("*.parquet"))),
    ]
    for part in parts:
        content.update(str(part.name).encode())
        with part.open("rb") as stream:
            content.update(hashlib.file_digest(stream, "sha256").digest())
    return content.hexdigest()[:16]


def _insert_frame(connection: duckdb.DuckDBPyConnection, frame: pl.DataFrame, table: Table) -> None:
    connection.register("published_frame", frame.to_arrow())
    connection.execute(f"INSERT INTO {table.name} BY NAME SELECT * FROM published_frame")
    connection.unregister("published_frame")


def _say_what_was_read(connection: duckdb.DuckDBPyConnection, renamed: Mapping[str, str]) -> None:
    """Give what was made before it said which text was read the name its protocol has now, and its template."""
    for table in (EVALUATIONS, PROMOTIONS):
        for before, now in renamed.items():
            connection.execute(
                f"UPDATE {table.name} SET protocol = $1 WHERE protocol = $2 AND text_template IS NULL",
                [now, before],
            )
        connection.execute(
            f"UPDATE {table.name} AS e SET text_template = p.text_template FROM protocols AS p "
            "WHERE p.protocol = e.protocol AND e.text_template IS NULL"
        )


def _escaped(path: Path) -> str:
    return str(path).replace("'", "''")
