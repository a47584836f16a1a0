"""A search prints what it finds as it is, asks a running server first, and says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from cir_assets.client import Search
from tests.command_line.conftest import MARKUP, ran
from tests.serving.conftest import Shop


def test_search_prints_a_table_and_draws_a_sheet(shop: Shop, tmp_path: Path) -> None:
    reference, sheet = str(shop.pictures["image"][0]), tmp_path / "sheet.png"
    by_id = ran(
        *("search", "--dataset", "boutique", "--reference", reference, "--text", MARKUP, "--top", "3"),
        *("--contact-sheet", str(sheet)),
    )
    assert by_id.exit_code == 0, by_id.output
    rows = [line.split() for line in by_id.output.splitlines() if line.strip()[:2] in ("1 ", "2 ", "3 ")]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert {row[2] for row in rows} <= set(shop.pictures["image"])
    assert f"{shop.pictures.height} pictures in" in by_id.output
    assert f"contact sheet: {sheet}" in by_id.output
    with Image.open(sheet) as drawn:
        assert drawn.size[0] > 500
    file = Path(shop.about.picture_root) / shop.pictures["path"][0]
    unwritable = ran(
        *("search", "--dataset", "boutique", "--image", str(file), "--text", "is red"),
        *("--contact-sheet", str(sheet / "below_a_file.png")),
    )
    assert unwritable.exit_code == 1
    assert "the contact sheet cannot be written" in unwritable.output


def test_copies_are_found_where_they_are_wanted(shop: Shop) -> None:
    again = pl.concat([shop.pictures, shop.pictures[:1].with_columns(image=pl.lit("copy"))])
    Shop(shop.storage, again, np.concatenate([shop.features, shop.features[:1]]), shop.about).promote(2)
    asked = ("search", "--dataset", "boutique", "--reference", shop.pictures["image"][0], "--text", "is red")
    assert " copy " not in ran(*asked, "--pull", "-1").output
    assert " copy " in ran(*asked, "--pull", "-1", "--copies").output


def test_search_shows_ids_of_pictures_as_they_are(shop: Shop) -> None:
    named = shop.pictures.with_columns(image=pl.format("{} [{}][/old]", pl.lit("dress"), pl.row_index()))
    Shop(shop.storage, named, shop.features, shop.about).promote(2)
    found = ran("search", "--dataset", "boutique", "--reference", "dress [0][/old]", "--text", "is red")
    assert found.exit_code == 0, found.output
    assert found.output.count("[/old]") == 10


def test_a_running_server_is_asked_first_and_one_of_other_models_is_not_believed(
    served_shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, address = served_shop
    monkeypatch.setenv("DAGSTER_HOME", str(shop.storage))
    reference = str(shop.pictures["image"][0])
    asked = (
        "search",
        "--dataset",
        "boutique",
        "--reference",
        reference,
        "--text",
        "is red",
        "--top",
        "3",
        "--json",
    )
    by_server = ran(*asked, "--server", address)
    assert by_server.stderr == ""
    here = ran(*asked, "--server", "http://127.0.0.1:9")
    assert here.stderr.startswith("loading models …")
    first, second = json.loads(by_server.stdout), json.loads(here.stdout)
    assert [row["picture"] for row in first] == [row["picture"] for row in second]
    assert all(Path(row["file"]).is_file() for row in first)
    monkeypatch.setattr(
        Search,
        "datasets",
        lambda _: [{"dataset": "boutique", "pipeline": "tiny_clip/small", "champion": "x"}],
    )
    assert ran(*asked, "--server", address).stderr.startswith("loading models …")


def test_search_says_what_is_wrong(shop: Shop, tmp_path: Path) -> None:
    reference = str(shop.pictures["image"][0])
    no_picture = tmp_path / "words.png"
    no_picture.write_text("no picture")
    for arguments, said in (
        (["--reference", "nobody", "--text", "is red"], "boutique has no picture 'nobody'"),
        (["--reference", reference, "--text", " "], "say what should differ"),
        (["--reference", reference, "--text", "is red", "--category", "hats"], "hats"),
        (["--reference", reference, "--text", "is red", "--pipeline", "x/y"], "no pipeline 'x/y'"),
        (["--image", str(no_picture), "--text", "is red"], "picture"),
    ):
        refused = ran("search", "--dataset", "boutique", *arguments)
        assert refused.exit_code == 1, refused.output
        assert said in refused.output
    assert ran("search", "--dataset", "boutique", "--text", "is red").exit_code == 2
    nothing = ran("search", "--dataset", "nothing", "--reference", "a", "--text", "is red")
    assert nothing.exit_code == 1
    assert "there is no data set 'nothing' to search; there are boutique" in nothing.output
