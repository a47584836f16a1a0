"""What others published is taken whole or not at all, each figure once."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cir_assets.retrieval.metrics import headline
from cir_assets.retrieval.protocols import PROTOCOLS
from cir_assets.retrieval.reported_figures import WrongFigures, reported_figures
from cir_assets.store.contracts import PUBLISHED_RESULTS, checked

ROW = "Ours,blog,2026,CLIP B/32,zero-shot,fashioniq,val,fashioniq,mean,recall,10,30.5,our own measurement"


def written(file: Path, *rows: str) -> Path:
    file.write_text("\n".join([",".join(PUBLISHED_RESULTS.names), *rows]))
    return file


def test_every_bundled_figure_is_one_its_protocol_measures() -> None:
    figures = checked(reported_figures(), PUBLISHED_RESULTS)
    measured = pl.DataFrame(
        [(name, *key) for name, each in PROTOCOLS.items() for key in (*each.metrics, ("headline", 0))],
        schema={"protocol": pl.String, "metric": pl.String, "k": pl.Int32},
        orient="row",
    )
    assert figures.join(measured, on=["protocol", "metric", "k"], how="anti").is_empty()


def test_headlines_are_the_means_they_say_they_are() -> None:
    figures = reported_figures().filter(category="mean")
    for row in figures.filter(metric="headline").iter_rows(named=True):
        parts = figures.filter(
            pl.col("metric") != "headline", system=row["system"], venue=row["venue"], protocol=row["protocol"]
        )
        keyed = {(metric, k): value for metric, k, value in parts.select("metric", "k", "value").iter_rows()}
        assert headline(row["protocol"], keyed) == pytest.approx(row["value"], abs=0.01)


def test_the_same_method_under_two_galleries_is_two_figures() -> None:
    found = reported_figures().filter(system="TG-CIR", metric="recall", k=10, dataset="fashioniq")
    assert dict(found.select("protocol", "value").iter_rows()) == {
        "fashioniq_val_split": 51.32,
        "fashioniq": 39.81,
    }


def test_added_figures_stand_beside_the_bundled_ones(tmp_path: Path) -> None:
    added = reported_figures([written(tmp_path / "own.csv", ROW)])
    assert added.height == reported_figures().height + 1
    assert added.row(-1, named=True)["value"] == 30.5


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [ROW, ROW],
            r"line 3: Ours \(blog\) has recall@10 under fashioniq, category mean, already in .*line 2",
        ),
        (
            [ROW.replace(",fashioniq,mean", ",fashioniq_1k,mean")],
            "line 2: there is no protocol 'fashioniq_1k'; there are",
        ),
        (
            [ROW.replace("zero-shot", "few-shot")],
            "supervision is 'few-shot', expected one of supervised, zero-shot",
        ),
        ([ROW.replace("30.5", "305")], "value is 305; expected percent"),
        ([ROW.replace("30.5", "thirty")], "value is percent"),
        ([ROW.replace("recall,10", "recall,0")], "recall at 0 is no metric"),
        ([ROW.replace("our own measurement", "")], "source is empty; it is the publication"),
    ],
)
def test_figures_that_do_not_fit_are_told_by_file_and_line(
    tmp_path: Path, rows: list[str], said: str
) -> None:
    with pytest.raises(WrongFigures, match=said):
        reported_figures([written(tmp_path / "own.csv", *rows)])


def test_a_figure_that_is_bundled_already_is_not_taken_twice(tmp_path: Path) -> None:
    row = ",".join(
        str(value) for value in reported_figures().filter(pl.col("source").str.contains("TG-CIR")).row(0)
    )
    with pytest.raises(WrongFigures, match=r"already in published_figures\.csv, line"):
        reported_figures([written(tmp_path / "own.csv", row)])


def test_a_file_of_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("system,R@10\nOurs,30\n")
    with pytest.raises(WrongFigures, match="line 1: expected the columns system,venue"):
        reported_figures([tmp_path / "own.csv"])


def test_every_published_figure_has_a_source() -> None:
    frame = checked(reported_figures(), PUBLISHED_RESULTS)
    assert frame.filter(pl.col("source").str.len_chars() < 10).is_empty()
    paper = frame.filter((pl.col("venue") == "CVPRW 2022") & (pl.col("dataset") == "fashioniq"))
    assert paper.filter(pl.col("category") == "mean").select("metric", "k", "value").rows() == [
        ("recall", 10, 38.32),
        ("recall", 50, 61.74),
        ("headline", 0, 50.03),
    ]
