"""The view that tells what one modality alone solves, and the report's own count of it, on ranks counted by hand."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cir_assets.reporting.ladder import Ladder, ladders
from cir_assets.reporting.one_modality import one_modality
from cir_assets.retrieval.protocols import MetricKey
from cir_assets.store.publishing import open_publication, publish
from cir_assets.store.results import write_results
from tests.store.test_results import frames

RANKS = {
    "image_only": [1, 90, 1, 90, 90],
    "text_only": [1, 1, 90, 90, 90],
    "combiner": [1, 90, 1, 1, 90],
}
"""Of five queries the first is found by either alone, two by one of them, two need both."""


def test_shares_and_recall_on_what_is_left_are_those_counted_by_hand(tmp_path: Path) -> None:
    evaluations, metrics, rankings = [], [], []
    for method, ranks in RANKS.items():
        made = frames(method)
        evaluations.append(made["evaluations"].with_columns(method=pl.lit(method)))
        metrics.append(made["metrics"])
        [row] = made["rankings"].rows(named=True)
        rankings += [
            {**row, "query_id": f"q{place}", "target_rank": rank} for place, rank in enumerate(ranks)
        ]
    tables = {
        **frames("combiner"),
        "evaluations": pl.concat(evaluations),
        "metrics": pl.concat(metrics),
        "rankings": pl.DataFrame(rankings),
    }
    write_results(tmp_path / "paper.duckdb", tables)
    publish([tmp_path / "paper.duckdb"], {}, tmp_path / "evaluation.duckdb")
    with open_publication(tmp_path / "evaluation.duckdb") as connection:
        view = connection.sql(
            "SELECT method, image_only, text_only, either, neither, recall, queries, queries_left, recall_left "
            "FROM one_modality WHERE k = 10"
        ).fetchall()
    shares = [pytest.approx(40), pytest.approx(40), pytest.approx(60), pytest.approx(40)]
    assert view == [
        ("combiner", *shares, pytest.approx(60), 5, 2, pytest.approx(50)),
        ("image_only", *shares, pytest.approx(40), 5, 2, 0),
        ("text_only", *shares, pytest.approx(40), 5, 2, 0),
    ]
    found = one_modality(ladders(tables["evaluations"], tables["metrics"])[0], tables["rankings"])[0]
    assert (found.k, found.image_only, found.text_only, found.both, found.queries_left) == (10, 40, 40, 20, 2)
    assert (found.either, found.neither) == (60, 40)
    assert found.recall == {"image_only": 40, "text_only": 40, "combiner": 60}
    assert found.recall_left == {"image_only": 0, "text_only": 0, "combiner": 50}


def ladder(evaluation_ids: dict[str, str], metrics: tuple[MetricKey, ...]) -> Ladder:
    return Ladder("val", "shop", 1, 9, evaluation_ids, metrics, (), {})


def test_nothing_is_told_where_a_modality_or_a_cut_off_or_every_rank_is_unknown() -> None:
    ranks = pl.DataFrame({"evaluation_id": ["i", "t"], "category": "", "query_id": "q", "target_rank": 1})
    both, recall = {"image_only": "i", "text_only": "t"}, (("recall", 10),)
    assert len(one_modality(ladder(both, recall), ranks)) == 1
    assert one_modality(ladder({"image_only": "i"}, recall), ranks) == []
    assert one_modality(ladder(both, (("headline", 0),)), ranks) == []
    assert one_modality(ladder(both, recall), ranks[:1]) == []
    assert one_modality(ladder(both, recall), ranks[:0]) == []
