"""Training curves for the UI: every epoch is in the picture, the kept one marked, whatever the stage is called."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import polars as pl

from cir_assets.reporting.curves import curve_svg, curves_markdown

SVG = "{http://www.w3.org/2000/svg}"


def epochs(losses: list[float], scores: list[float | None], stage: str = "combiner") -> pl.DataFrame:
    return pl.DataFrame(
        {"stage": stage, "epoch": range(1, len(losses) + 1), "loss": losses, "selection_metric": scores},
        schema_overrides={"selection_metric": pl.Float64},
    )


def lines(svg: str) -> list[list[str]]:
    found = ElementTree.fromstring(svg).iter(f"{SVG}polyline")
    return [line.attrib["points"].split() for line in found]


def said(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_every_epoch_of_a_long_training_is_a_point_and_the_kept_one_is_marked() -> None:
    svg = curve_svg(epochs([3.0 - epoch / 100 for epoch in range(250)], [float(e % 97) for e in range(250)]))
    assert [len(line) for line in lines(svg)] == [250, 250]
    assert "loss: 3.0000 → 0.5100" in said(svg)
    assert "kept: epoch 97, 96.00" in said(svg)


def test_a_loss_that_is_no_number_leaves_a_gap_and_no_figure_says_so() -> None:
    svg = curve_svg(epochs([2.0, float("nan"), 1.0], [None, None, None]))
    assert [len(line) for line in lines(svg)] == [2]
    assert "headline on val, %: not measured" in said(svg)
    assert "nan" not in svg


def test_one_epoch_is_a_dot() -> None:
    assert lines(curve_svg(epochs([2.0], [50.0]))) == []


def test_stages_stand_in_order_each_with_its_picture() -> None:
    hostile = "<img src=x>|[a](b)"
    every = [epochs([2.0, 1.0], [1.0, 2.0], stage) for stage in (hostile, "combiner", "text_encoder")]
    text = curves_markdown(pl.concat(every))
    assert re.findall(r"^\*\*(.*)\*\*$", text, re.MULTILINE) == [
        "Stage 1: text encoder",
        "Stage 2: Combiner",
        r"\<img src=x\>\|\[a\](b)",
    ]
    pictures = re.findall(r"\(data:image/svg\+xml;base64,([^)]+)\)", text)
    assert [len(lines(base64.b64decode(picture).decode())) for picture in pictures] == [2, 2, 2]
    assert curves_markdown(every[0].clear()) == "No model was trained in this pipeline."
