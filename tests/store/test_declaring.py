"""A database has the columns its contracts say, with what each means; an older one gets those it lacks."""

from __future__ import annotations

import duckdb
import polars as pl

from cir_assets.store.contracts import PUBLISHED_TABLES, Column, Table, fitted
from cir_assets.store.declaring import create_tables


def test_an_empty_table_of_each_contract_goes_through_a_database_and_back() -> None:
    with duckdb.connect() as connection:
        create_tables(connection, PUBLISHED_TABLES)
        for table in PUBLISHED_TABLES:
            frame = connection.sql(f"SELECT * FROM {table.name}").pl()
            assert fitted(frame, table).schema == table.schema


DOGS = Table(
    "dogs",
    "One row a person's dog.",
    (Column("name", pl.String(), "what it's called"), Column("paws", pl.Int32(), "how many")),
)


def test_a_database_says_what_its_tables_and_columns_mean() -> None:
    with duckdb.connect() as connection:
        create_tables(connection, [DOGS])
        told = connection.execute("SELECT comment FROM duckdb_tables() WHERE table_name = 'dogs'").fetchall()
        assert told == [("One row a person's dog.",)]
        columns = connection.execute(
            "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = 'dogs'"
        ).fetchall()
        assert columns == [("name", "VARCHAR", "what it's called"), ("paws", "INTEGER", "how many")]


def test_a_table_of_an_older_form_keeps_its_rows_and_gets_the_columns_it_lacks() -> None:
    with duckdb.connect() as connection:
        create_tables(connection, [Table("dogs", "Dogs.", DOGS.columns[:1])])
        connection.execute("INSERT INTO dogs VALUES ('Rex')")
        for _ in range(2):
            create_tables(connection, [DOGS])
        assert connection.execute("SELECT name, paws FROM dogs").fetchall() == [("Rex", None)]
