"""A test server's answer becomes an evaluation of test, once, and stands beside what others published."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import duckdb
import polars as pl
import pytest
import yaml

from cir_assets.pipeline.answers import WrongAnswer, enter_answer
from cir_assets.pipeline.report import results_of
from cir_assets.pipeline.step import Work
from cir_assets.retrieval.protocols import protocol_table
from cir_assets.retrieval.reported_figures import figures_of_others
from cir_assets.store.contracts import GALLERIES, frame
from cir_assets.store.database import open_database
from cir_assets.store.layout import Storage
from cir_assets.store.ledger import Ledger, LedgerEntry
from cir_assets.store.made import NotMade
from cir_assets.store.publishing import publish
from cir_assets.store.results import write_results
from cir_assets.store.tables import write_table
from tests.store.test_results import frames

if TYPE_CHECKING:
    from cir_assets.pipeline.identity import Pipeline

PLACE = ("cirr", "rn50x4", "paper")
FIGURES = {"recall@1": 39.0, "recall@5": 70.0, "recall@10": 82.0, "recall@50": 96.0, "subset_recall@1": 68.0}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """A storage folder in which CIRR's submission was made."""
    storage = Storage(tmp_path / "storage")
    submit(storage, "v1")
    gallery = ({"split": "test", "category": "all", "position": n, "image": f"test1-{n}"} for n in range(7))
    write_table(frame(GALLERIES, gallery), storage.tables("cirr"), GALLERIES)
    return storage


def submit(storage: Storage, version: str) -> None:
    files = dict.fromkeys(f"reports/cirr_{name}.json" for name in ("recall", "recall_subset"))
    detail = {"metadata": {"method": "combiner", "queries": 4_148}, "checks": {}, "files": files}
    Ledger(storage.ledger).record(
        "/".join([*PLACE, "submission"]), LedgerEntry(version, version, detail), alone=True
    )


def answer(folder: Path, **changes: object) -> Path:
    file = folder / "answer.yaml"
    said = {"protocol": "cirr", "answered": "2026-11-20", "server": "CIRR's server", "figures": FIGURES}
    file.write_text(
        yaml.safe_dump({key: value for key, value in (said | changes).items() if value is not None})
    )
    return file


def published(storage: Storage) -> duckdb.DuckDBPyConnection:
    figures, wrong = figures_of_others([])
    assert wrong == []
    publish([storage.answers(*PLACE)], {}, storage.evaluation, figures=figures, protocols=protocol_table())
    return duckdb.connect(str(storage.evaluation), read_only=True)


def test_an_answer_stands_beside_the_published_figures_of_the_test_server(
    storage: Storage, tmp_path: Path
) -> None:
    said = enter_answer(storage, PLACE, answer(tmp_path))
    assert said == "cirr/rn50x4/paper: combiner on test under cirr, headline 69.00, by CIRR's server"
    with published(storage) as connection:
        rows = connection.sql(
            "SELECT ours, published, difference, ci_low FROM against_published "
            "WHERE system = 'CLIP4Cir' AND metric = 'recall' AND k = 1"
        ).fetchall()
        assert rows == [(39.0, 38.53, 0.47, None)]
        told = connection.sql(
            "SELECT queries, gallery_size, measured_by, models_from FROM evaluations"
        ).fetchall()
        assert told[0][:2] == (4_148, 7)
        assert told[0][2].startswith("CIRR's server, answered 2026-11-20, entered from answer.yaml")
        assert told[0][3] == "cirr/rn50x4/paper"


def test_an_answer_is_entered_once_a_submission(storage: Storage, tmp_path: Path) -> None:
    enter_answer(storage, PLACE, answer(tmp_path))
    before = storage.answers(*PLACE).read_bytes()
    with pytest.raises(
        WrongAnswer, match=r"the answer to this submission \(v1\) was entered already, of 2026-11-20"
    ):
        enter_answer(storage, PLACE, answer(tmp_path, answered="2026-11-21"))
    assert storage.answers(*PLACE).read_bytes() == before
    submit(storage, "v2")
    enter_answer(storage, PLACE, answer(tmp_path, answered="2026-11-21"))
    with published(storage) as connection:
        assert connection.sql("SELECT count(*) FROM evaluations").fetchall() == [(2,)]
        assert connection.sql("SELECT max(created_at)::DATE::VARCHAR FROM leaderboard").fetchall() == [
            ("2026-11-21",)
        ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"protocol": "cir"}, "no protocol 'cir'; there are fashioniq, "),
        (
            {"protocol": "circo", "figures": {"mean_average_precision@10": 20}},
            "wrote cirr_recall.json, cirr_recall_",
        ),
        (
            {"figures": {"recall@1": 39.0}},
            "figures lacks recall@5, subset_recall@1; cirr measures recall@1, ",
        ),
        ({"figures": FIGURES | {"recall@2": 50}}, "figures has recall@2; cirr measures"),
        ({"figures": FIGURES | {"recall@1": 0.39, "recall@5": 700}}, "recall@5 is 700.0; expected percent"),
        ({"answered": None}, "answered: Field required"),
        ({"notes": "late"}, "notes: Extra inputs are not permitted"),
    ],
)
def test_an_answer_that_does_not_fit_leaves_nothing(
    storage: Storage, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(WrongAnswer) as refused:
        enter_answer(storage, PLACE, answer(tmp_path, **changes))
    assert said in str(refused.value)
    assert "answer.yaml" in str(refused.value)
    assert not storage.answers(*PLACE).exists()


def test_without_a_submission_there_is_nothing_to_answer(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(NotMade, match="circo/rn50x4/paper/submission was never made"):
        enter_answer(storage, ("circo", "rn50x4", "paper"), answer(tmp_path))


def test_a_persons_file_of_figures_that_is_wrong_is_left_out_whole_and_told(tmp_path: Path) -> None:
    bundled, _ = figures_of_others([])
    (tmp_path / "wrong.csv").write_text("system,value\n")
    figures, [said] = figures_of_others([tmp_path / "wrong.csv"])
    assert figures.equals(bundled)
    assert "wrong.csv is left out" in said


def test_the_report_reads_an_answer_beside_results_of_an_older_form(storage: Storage, tmp_path: Path) -> None:
    file = storage.results(*PLACE)
    file.parent.mkdir(parents=True)
    old = frames("old")
    old["evaluations"] = old["evaluations"].with_columns(protocol=pl.lit("fashioniq_val_split"))
    write_results(file, old)
    with open_database(file) as connection:
        connection.execute("ALTER TABLE evaluations DROP COLUMN text_template")
        connection.execute("ALTER TABLE evaluations DROP COLUMN measured_by")
    enter_answer(storage, PLACE, answer(tmp_path))
    results = results_of(
        Work(storage), cast("Pipeline", SimpleNamespace(place=PLACE, data=SimpleNamespace(brought=())))
    )
    assert results["evaluations"].select("split", "protocol").rows() == [
        ("val", "fashioniq_val_split_with_reference"),
        ("test", "cirr"),
    ]
    assert results["metrics"].filter(metric="subset_recall")["value"].to_list() == [68.0]
