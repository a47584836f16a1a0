"""i-CIR in its published form: an instance a gallery, several right pictures a query."""

from __future__ import annotations

from pathlib import Path

import pytest

from cir_assets.datasets.icir import read_icir
from cir_assets.datasets.tables import BrokenAnnotations
from tests.datasets.conftest import counts, subjects

QUERIES = """\
icir/query/temple/q1.jpg,at sunset,temple
icir/query/temple/q1.jpg,as a drawing,temple
icir/query/mug/q2.jpg,on a table,mug
"""
DATABASE = """\
icir/database/temple/p1.jpg,at sunset,temple
icir/database/temple/n1.jpg,none,temple
icir/database/temple/p2.jpg,at sunset,temple
icir/database/mug/p3.jpg,on a table,mug
icir/database/mug/p3.jpg,on a table,mug
icir/database/lamp/n2.jpg,none,lamp
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "query_files.csv").write_text(QUERIES)
    (tmp_path / "database_files.csv").write_text(DATABASE)
    return tmp_path


def test_an_instance_is_searched_in_its_own_database(folder: Path) -> None:
    read = read_icir(folder)
    assert counts(read.galleries) == {("val", "temple"): 3, ("val", "mug"): 1}
    first, last = read.triplets.iter_rows(named=True)
    assert first["reference"] == "query/temple/q1.jpg"
    assert first["target"] == "database/temple/p1.jpg"
    assert first["further_targets"] == ["database/temple/p2.jpg"]
    assert (last["triplet_id"], last["category"]) == ("2", "mug")


def test_what_has_no_answer_or_no_question_is_told(folder: Path) -> None:
    read = read_icir(folder)
    assert subjects(read, "no_target") == ["val/1"]
    assert subjects(read, "instance_without_query") == ["lamp"]
    assert subjects(read, "repeated_row") == ["database/mug/p3.jpg"]


def test_the_files_are_also_found_in_annotations(folder: Path) -> None:
    whole = read_icir(folder)
    nested = folder / "annotations"
    nested.mkdir()
    for name in ("query_files.csv", "database_files.csv"):
        (folder / name).rename(nested / name)
    assert read_icir(folder).triplets.equals(whole.triplets)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ("image_path,text_query,instance_id\n", r"query_files\.csv, line 1: expected the path of a picture"),
        ("query/a.jpg,at sunset\n", r"query_files\.csv, line 1: expected path,text,instance"),
        ("query/../a.jpg,at sunset,temple\n", "line 1: expected the path of a picture"),
        ("query/a.jpg,in the rain,temple\n", "none of its 1 queries has a picture of its instance and text"),
    ],
)
def test_files_of_another_version_are_refused_in_one_message(
    folder: Path, queries: str, message: str
) -> None:
    (folder / "query_files.csv").write_text(queries)
    with pytest.raises(BrokenAnnotations, match=message):
        read_icir(folder)
