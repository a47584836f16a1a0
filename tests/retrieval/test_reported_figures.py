"""Figures others reported."""

from __future__ import annotations

import polars as pl

from cir_assets.retrieval.reported_figures import reported_figures


def test_every_published_figure_has_a_source() -> None:
    frame = reported_figures()
    assert frame.filter(pl.col("source").str.len_chars() < 10).is_empty()
    paper = frame.filter((pl.col("venue") == "CVPRW 2022") & (pl.col("dataset") == "fashioniq"))
    assert paper.filter(pl.col("category") == "mean").select("metric", "k", "value").rows() == [
        ("recall", 10, 38.32),
        ("recall", 50, 61.74),
        ("headline", 0, 50.03),
    ]
