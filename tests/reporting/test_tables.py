"""Figures of ours stand among those others published, in every form a table is written in."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cir_assets.pipeline.answers import enter_answer
from cir_assets.reporting.tables import (
    FORMS,
    OURS,
    NoTable,
    arranged,
    as_csv,
    as_latex,
    as_markdown,
    comparison_table,
)
from cir_assets.store.layout import Storage
from tests.pipeline.test_answers import PLACE, answer, published, storage

__all__ = ["storage"]


def test_ours_stands_among_the_published_in_every_form(storage: Storage, tmp_path: Path) -> None:
    enter_answer(storage, PLACE, answer(tmp_path))
    with published(storage) as connection:
        table = comparison_table(connection, "cirr", "test")
        alone = comparison_table(connection, "cirr", "test", published=False)
        with pytest.raises(
            NoTable, match=r"there are no figures of cirr, val; there are of: .*cirr, test, cirr"
        ):
            comparison_table(connection, "cirr", "val")
        with pytest.raises(NoTable, match="no figures of category 'dress' of cirr, test, cirr"):
            comparison_table(connection, "cirr", "test", category="dress")
        # What nobody measured here is a table of others alone.
        others = comparison_table(connection, "fashioniq", "val", "fashioniq_val_split")
    assert {row.system for row in others.rows} >= {"TG-CIR", "DQU-CIR", "ENCODER"}
    [row] = alone.rows
    assert (row.system, row.backbone, row.figures["recall", 1]) == ("Combiner (paper)", "rn50x4", 39.0)
    markdown = FORMS["markdown"](table)
    assert "| Combiner (paper) | rn50x4 | ours | 39.00 | 70.00 |" in markdown
    assert markdown.count("**") == 2 * len(table.metrics)
    latex = FORMS["latex"](table)
    assert r"SPN4CIR on CLIP4Cir's sum & CLIP RN50x4 & MM 2024 & 45.33" in latex
    assert latex.count(r"\textbf{") == len(table.metrics)
    read = pl.read_csv(FORMS["csv"](table).encode())
    assert read.filter(venue="ours")["R@1"].to_list() == [39.0]
    assert read.height == len(table.rows)


FIGURES = [
    ("TG-CIR", "B/16", "MM 2023", "supervised", "recall", 10, 52.0, None, None),
    ("Combiner (small)", "B/16", OURS, OURS, "recall", 10, 55.5, 54.0, 57.0),
    ("50% & more_", "RN50", "A|B", "zero-shot", "recall", 10, 40.0, None, None),
    ("50% & more_", "RN50", "A|B", "zero-shot", "recall", 50, 60.0, None, None),
]


def test_ours_comes_after_the_others_of_its_backbone_and_the_best_of_each_column_is_known() -> None:
    table = arranged("shop", FIGURES)
    assert table.metrics == (("recall", 10), ("recall", 50))
    assert [row.system for row in table.rows] == ["TG-CIR", "Combiner (small)", "50% & more_"]
    assert [row.ours for row in table.rows] == [False, True, False]
    assert [table.best(metric) for metric in table.metrics] == [55.5, 60.0]
    assert (table.rows[1].low, table.rows[1].high) == ({("recall", 10): 54.0}, {("recall", 10): 57.0})


def test_names_stand_in_each_form_as_they_are_and_what_was_not_measured_is_no_figure() -> None:
    table = arranged("shop", FIGURES)
    assert r"50\% \& more\_ & RN50 & A|B & 40.00 & \textbf{60.00} \\" in as_latex(table)
    assert as_latex(table).count(r"\midrule") == 2
    assert "| Combiner (small) | B/16 | ours | **55.50** | – |" in as_markdown(table)
    assert r"A\|B" in as_markdown(table)
    ours = pl.read_csv(as_csv(table).encode()).row(1, named=True)
    assert (ours["R@10"], ours["R@10 low"], ours["R@10 high"], ours["R@50"]) == (55.5, 54.0, 57.0, None)
