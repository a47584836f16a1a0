"""A ranking made elsewhere is read in every form people have, and a broken one says where and how to mend it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from cir_assets.retrieval.ranking_files import BrokenRanking, read_ranking

LISTS = {"q1": ["a", "b", "c"], "q2": ["c", "a", "b"]}

LONG = "query_id,image\nq1,a\nq1,b\nq1,c\nq2,c\nq2,a\nq2,b\n"
UNORDERED = "Query;Candidate;Rank\nq2;b;3\nq1;a;1\nq2;c;1\nq1;c;3\nq2;a;2\nq1;b;2\n"
WIDE = "query_id\t1\t2\t3\nq1\ta\tb\tc\nq2\tc\ta\tb\n"
LINES = "".join(json.dumps({"query_id": query, "images": images}) + "\n" for query, images in LISTS.items())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("long.csv", LONG),
        ("long-with-a-mark.csv", f"\ufeff{LONG}"),
        ("unordered.csv", UNORDERED),
        ("wide.tsv", WIDE),
        ("lines.jsonl", LINES),
        ("server.json", json.dumps({"version": "rc2", "metric": "recall", **LISTS})),
        ("entries.json", json.dumps([{"pairid": q, "candidates": i} for q, i in LISTS.items()])),
    ],
)
def test_every_form_gives_the_same_lists(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_ranking(tmp_path / name).lists == LISTS


def test_parquet_gives_them_too_one_row_a_query_or_one_a_picture(tmp_path: Path) -> None:
    rows = [(query, image) for query, images in LISTS.items() for image in images]
    pl.DataFrame(rows, ["query_id", "image"], orient="row").write_parquet(tmp_path / "long.parquet")
    pl.DataFrame({"query_id": list(LISTS), "images": list(LISTS.values())}).write_parquet(
        tmp_path / "lists.parquet"
    )
    for file in tmp_path.iterdir():
        assert read_ranking(file).lists == LISTS


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", LONG, "a ranking is .csv, .tsv, .jsonl, .json or .parquet; save it as one of these"),
        (
            "a.csv",
            "id,picture_name\n1,2\n",
            "has the columns id, picture_name; it needs the columns query_id",
        ),
        ("a.csv", f"{LONG}q1,d\n", "line 8, query q1: it stood already at line 2; leave one of the two"),
        ("a.csv", UNORDERED + "q1;d;2\n", "line 8, query q1: rank 2 stands twice; is the query there twice?"),
        (
            "a.csv",
            "query_id,image,rank\nq1,a,first\n",
            "line 2, query q1: rank is 'first', expected a number",
        ),
        ("a.csv", "query_id,image\nq1\n", "line 2: the row is too short; it needs the columns query_id"),
        ("a.csv", "query_id,image\n", "holds no query; it needs the columns query_id and image"),
        ("a.jsonl", LINES + LINES, "line 3, query q1: it stood already at line 1; leave one of the two"),
        ("a.jsonl", '{"images": []}\n', 'line 1: expected {"query_id": "…", "images": ["…", …]}'),
        ("a.jsonl", "{", "does not read"),
        ("a.json", '{"q1": ["a"], "q1": ["b"]}', "entry 2, query q1: it stood already at entry 1"),
        ("a.json", '{"q1": "a"}', "entry 1, query q1: 'a' is no list of pictures' ids"),
        ("a.parquet", "no parquet", "is no Parquet file"),
    ],
)
def test_a_broken_file_says_where_and_how_to_mend_it(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(BrokenRanking) as raised:
        read_ranking(tmp_path / name)
    assert said in str(raised.value)
    assert str(tmp_path / name) in str(raised.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        BrokenRanking, match="is no file: name the ranking's file, or take it out of rankings"
    ):
        read_ranking(tmp_path / "gone.csv")
