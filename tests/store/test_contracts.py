"""A table's columns are written once: frames, databases and the UI are made from the contract and held to it."""

from __future__ import annotations

import subprocess
import sys

import dagster as dg
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cir_assets.graph.columns import UI_TYPES, column_schema
from cir_assets.store import contracts
from cir_assets.store.contracts import (
    OF_DATA_SETS,
    PUBLISHED_TABLES,
    RESULTS,
    SPLITS,
    VIEWS,
    Column,
    Table,
    WrongFrame,
    checked,
    fitted,
)

EVERY = [each for each in vars(contracts).values() if isinstance(each, Table)]
DOG = Table(
    "dogs",
    "One row a dog.",
    (
        Column("name", pl.String(), "as it is called"),
        Column("height", pl.Float32(), "centimetres"),
        Column("paws", pl.Int32(), "how many"),
        Column("tail", pl.String(), "its form; null where there is none", nullable=True),
        Column("size", pl.String(), "small or large", among=("small", "large")),
    ),
)
REX = {"name": ["Rex"], "height": [40.5], "paws": [4], "tail": [None], "size": ["small"]}


def dogs(**changes: list[object]) -> pl.DataFrame:
    return pl.DataFrame({**REX, **changes}, schema=DOG.schema)


@pytest.mark.parametrize("table", EVERY, ids=lambda table: table.name)
def test_every_column_has_a_name_of_its_own_a_meaning_and_a_type_everybody_knows(table: Table) -> None:
    assert len(set(table.names)) == len(table.columns)
    assert table.meaning.endswith(".")
    for column in table.columns:
        assert column.meaning, column.name
        assert column.dtype in UI_TYPES, column.name


@pytest.mark.parametrize("table", EVERY, ids=lambda table: table.name)
def test_what_means_null_may_be_empty(table: Table) -> None:
    for column in table.columns:
        assert column.nullable or "null where" not in column.meaning, column.name


def test_a_data_sets_table_is_published_with_its_data_set_before() -> None:
    published = {table.name: table for table in PUBLISHED_TABLES}
    for table in OF_DATA_SETS:
        assert published[table.name].names == ["dataset", *table.names]
    assert len(published) == len(PUBLISHED_TABLES) == len(RESULTS) + len(OF_DATA_SETS) + 3
    assert not published.keys() & {view.name for view in VIEWS}


@pytest.mark.parametrize("table", EVERY, ids=lambda table: table.name)
def test_the_ui_shows_the_contracts_columns(table: Table) -> None:
    shown = column_schema(table)
    assert isinstance(shown, dg.TableSchema)
    assert [(each.name, each.description) for each in shown.columns] == [
        (column.name, column.meaning) for column in table.columns
    ]


def test_a_frame_as_the_contract_says_is_returned_as_it_is() -> None:
    frame = dogs()
    assert checked(frame, DOG) is frame
    assert fitted(frame, DOG).equals(frame)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (dogs().drop("paws"), "dogs: column paws must be Int32, found no such column"),
        (dogs().cast({"paws": pl.Int64}), "dogs: column paws must be Int32, found Int64"),
        (dogs().with_columns(fur=pl.lit("red")), "dogs: expected the columns .* found .*'fur'"),
        (dogs().select("size", "name", "height", "paws", "tail"), "dogs: expected the columns"),
        (dogs(name=[None]), "dogs: column name has 1 empty values"),
        (dogs(size=["huge"]), "dogs: size is 'huge', expected one of small, large"),
    ],
)
def test_a_frame_that_differs_is_refused_by_table_column_expected_and_found(
    frame: pl.DataFrame, said: str
) -> None:
    with pytest.raises(WrongFrame, match=said):
        checked(frame, DOG)


def test_columns_are_picked_put_in_order_and_narrowed() -> None:
    wide = pl.DataFrame({**REX, "fur": ["red"]}).select("fur", "size", "paws", "tail", "height", "name")
    assert wide.schema["paws"] == pl.Int64
    assert wide.schema["tail"] == pl.Null
    assert fitted(wide, DOG).equals(dogs())


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (dogs().drop("paws", "tail"), "dogs lacks the columns paws, tail; it has name, height, size"),
        (dogs().cast({"paws": pl.String}), "dogs: column paws must be Int32, found String"),
        (dogs().cast({"paws": pl.Float64}), "dogs: column paws must be Int32, found Float64"),
        (dogs().with_columns(name=pl.lit(3)), "dogs: column name must be String, found Int32"),
    ],
)
def test_a_column_of_another_kind_is_not_narrowed(frame: pl.DataFrame, said: str) -> None:
    with pytest.raises(WrongFrame, match=said):
        fitted(frame, DOG)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=5))
def test_a_number_too_large_for_its_column_is_never_cut(paws: list[int]) -> None:
    frame = pl.DataFrame({"name": "Rex", "height": 40.5, "paws": paws, "tail": None, "size": "small"})
    if all(-(2**31) <= number < 2**31 for number in paws):
        assert fitted(frame, DOG)["paws"].to_list() == paws
    else:
        with pytest.raises(WrongFrame, match=r"dogs: column paws must be Int32, found .* that do not fit it"):
            fitted(frame, DOG)


def test_only_known_splits_stand_in_a_data_sets_tables() -> None:
    for table in OF_DATA_SETS:
        for column in table.columns:
            assert column.among == (SPLITS if column.name == "split" else ()), (table.name, column.name)


def test_contracts_are_known_without_loading_torch_or_dagster_or_duckdb() -> None:
    code = "import sys, cir_assets.store.contracts; print({'torch', 'dagster', 'duckdb'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "set()\n"
