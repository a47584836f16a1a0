"""Triplets of tables that join the train split of any data set, and what becomes of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import TypeAdapter, ValidationError

from cir_assets.datasets.sources import Source
from cir_assets.datasets.tables import BrokenAnnotations
from tests.datasets.conftest import counts, subjects, triplet, write_fashioniq


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    write_fashioniq(data, "hat", "train", ["A1", "A2", "A3"], [triplet("A1", "A2")])
    return write_fashioniq(data, "hat", "val", ["B1", "B2"], [triplet("B1", "B2")])


def read(folder: Path, *tables: Path) -> Any:
    settings = {
        "kind": "fashioniq",
        "folder": str(folder),
        "further_triplets": [str(table) for table in tables],
    }
    return TypeAdapter(Source).validate_python(settings).annotations(folder)


def test_rows_join_train_alone_by_id_or_by_file(folder: Path, tmp_path: Path) -> None:
    csv, parquet = tmp_path / "more.csv", tmp_path / "more.parquet"
    csv.write_text("reference,target,caption\nA1,A3,is longer\nA2.jpg,A1.jpg,is red\n")
    pl.DataFrame({"reference": ["A3"], "target": ["A1"], "caption": ["is wide"]}).write_parquet(parquet)
    found = read(folder, csv, parquet)
    assert counts(found.triplets) == {("train", "hat"): 1, ("val", "hat"): 1, ("train", "all"): 3}
    added = found.triplets.filter(category="all").select("triplet_id", "reference", "target", "captions")
    assert added.rows() == [
        ("further1-row-1", "A1", "A3", ["is longer"]),
        ("further1-row-2", "A2", "A1", ["is red"]),
        ("further2-row-1", "A3", "A1", ["is wide"]),
    ]
    assert found.galleries.equals(read(folder).galleries)


def test_what_cannot_train_is_dropped_and_told_by_row(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "more.csv"
    table.write_text(
        "reference,target,caption,split\n"
        "A1,A3,is longer,train\n"
        "A1,X9,is red,train\n"
        "A2,,is wide,train\n"
        "A2,A3,is wide,val\n"
        "B1,A3,is wide,train\n"
    )
    found = read(folder, table)
    added = found.triplets.filter(pl.col("triplet_id").str.starts_with("further"))
    assert added["triplet_id"].to_list() == ["further1-row-1", "further1-row-5"]
    assert set(added["split"]) == {"train"}
    assert subjects(found, "unknown_picture") == ["train/further1-row-2"]
    assert subjects(found, "no_target") == ["train/further1-row-3"]
    assert subjects(found, "not_train") == ["train/further1-row-4"]
    # B1 is searched in val: it is said, as a model that saw it is judged on it.
    assert subjects(found, "cross_split_leakage") == ["train/further1-row-5"]


def test_a_table_of_other_pictures_is_refused_in_one_message(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "more.csv"
    table.write_text("reference,target,caption\nX1,X2,is longer\n")
    with pytest.raises(BrokenAnnotations, match=r"more\.csv: no row names pictures"):
        read(folder, table)
    with pytest.raises(BrokenAnnotations, match=r"absent\.csv cannot be read"):
        read(folder, tmp_path / "absent.csv")


def test_a_source_without_such_tables_is_described_as_before() -> None:
    sources: TypeAdapter[Any] = TypeAdapter(Source)
    assert "further_triplets" not in sources.validate_python({"kind": "circo", "folder": "x"}).model_dump()
    with pytest.raises(ValidationError, match="further_triplets only train; name triplets too"):
        sources.validate_python({"kind": "catalogue", "pictures": "x", "further_triplets": ["more.csv"]})
