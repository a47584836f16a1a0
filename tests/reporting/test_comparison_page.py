"""A comparison as a page: what changed, in pictures, with nothing asked of the net."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, expect

from cir_assets.command_line import main
from cir_assets.reporting.comparison import compare_rankings
from cir_assets.reporting.comparison_page import write_comparison
from cir_assets.reporting.inputs import ReportInputs
from cir_assets.store.ledger import Ledger
from cir_assets.store.made import Made
from cir_assets.store.publishing import publish
from cir_assets.store.results import write_results
from tests.store.test_results import frames
from tests.trial_project import TrialProject

HOSTILE = "<script>alert(1)</script>\"'; DROP TABLE rankings;--"


def ranked(inputs: ReportInputs, method: str) -> pl.DataFrame:
    return inputs.rankings.filter(pl.col("evaluation_id") == f"val-fashioniq-{method}").with_columns(
        caption=pl.lit(HOSTILE), subset_rank=pl.lit(None, pl.Int32)
    )


@pytest.fixture
def page(inputs: ReportInputs, tmp_path: Path) -> Path:
    return written(inputs, tmp_path / "compared.html")


def written(inputs: ReportInputs, file: Path) -> Path:
    found = compare_rankings(ranked(inputs, "sum"), ranked(inputs, "combiner"), "fashioniq")
    names = ("a/b/c/sum", "a/b/c/combiner")
    retrieved = (best(inputs, "sum"), best(inputs, "combiner"))
    return write_comparison(file, names, found, inputs.picture_path, retrieved=retrieved, each=6)


def best(inputs: ReportInputs, method: str) -> pl.DataFrame:
    return inputs.retrieved.filter(pl.col("evaluation_id") == f"val-fashioniq-{method}")


def test_gains_and_losses_are_shown_in_pictures(browser: Browser, page: Path, inputs: ReportInputs) -> None:
    shown = browser.new_page()
    said: list[str] = []
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("dialog", lambda dialog: said.append(dialog.message))
    shown.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
    shown.goto(page.as_uri())
    rows = shown.locator("#figures ~ .scroll tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("headline")
    gained = shown.locator("section[aria-labelledby=group-1] .sheet")
    expect(gained).to_have_count(6)
    expect(gained.first).to_contain_text(HOSTILE)
    pictures = shown.locator(".sheet img")
    assert pictures.count() >= 12
    assert pictures.first.evaluate("picture => picture.naturalWidth") > 0
    joined = ranked(inputs, "sum").join(ranked(inputs, "combiner"), on="query_id", suffix="_after")
    # First those that came within a k of the protocol with the second alone, then in proportion.
    before, after = pl.col("target_rank"), pl.col("target_rank_after")
    moved = joined.with_columns(
        crossed=((before <= 10) != (after <= 10)) | ((before <= 50) != (after <= 50)), times=before / after
    ).filter(pl.col("times") > 1)
    first = moved.sort("crossed", "times", "query_id", descending=[True, True, False]).row(0, named=True)
    ranks = gained.first.locator(".placed").inner_text().split(" → ")
    assert tuple(map(int, ranks)) == (first["target_rank"], first["target_rank_after"])
    # What each of the two found for it, the target marked where it is among it.
    for side, method in enumerate(("sum", "combiner")):
        found = best(inputs, method).filter(query_id=first["query_id"]).sort("rank")["image"][:6].to_list()
        strip = gained.first.locator(".strip").nth(side)
        alts = [picture.get_attribute("alt") for picture in strip.locator("img").all()]
        wanted = found if first["target"] in found else [*found, first["target"]]
        assert alts == [f"{'Target' if image == first['target'] else 'Found'}: {image}" for image in wanted]
        # Where it is further down it stands at the end with its rank.
        expect(strip.locator(".target")).to_have_count(1)
        expect(gained.first.locator("h3").nth(side)).to_contain_text(method)
    assert said == []
    shown.close()


def test_equal_inputs_give_equal_bytes(page: Path, inputs: ReportInputs, tmp_path: Path) -> None:
    again = written(inputs, tmp_path / "again.html")
    assert again.read_bytes() == page.read_bytes()


def test_an_evaluation_against_itself_has_neither(inputs: ReportInputs, tmp_path: Path) -> None:
    found = compare_rankings(ranked(inputs, "sum"), ranked(inputs, "sum"), "fashioniq")
    page = write_comparison(tmp_path / "same.html", ("a", "a"), found, inputs.picture_path)
    assert page.read_text(encoding="utf-8").count("No query.") == 2


def test_the_command_finds_the_pictures_where_they_were_last_found(
    inputs: ReportInputs, project: TrialProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was exported for searching."""
    storage = project.storage
    made = frames("e")
    [row] = made["rankings"].rows(named=True)
    shown = {"reference": "val-dress-0", "target": "val-dress-1"}
    for recipe, rank in (("first", 9), ("second", 2)):
        evaluation = f"e-{recipe}"
        names = {"evaluation_id": pl.lit(evaluation), "dataset": pl.lit("shop"), "recipe": pl.lit(recipe)}
        write_results(
            storage.results("shop", "rn50x4", recipe),
            {
                **{
                    table: frame.with_columns(evaluation_id=names["evaluation_id"])
                    for table, frame in made.items()
                    if table != "training_epochs"
                },
                "training_epochs": made["training_epochs"],
                "retrieved": made["retrieved"].with_columns(
                    evaluation_id=pl.lit(evaluation), image=pl.lit("val-dress-1")
                ),
                "evaluations": made["evaluations"].with_columns(**names),
                "rankings": pl.DataFrame(
                    [{**row, **shown, "evaluation_id": evaluation, "target_rank": rank}]
                ),
            },
        )
    pictures = [path for image in shown.values() if (path := inputs.picture_path(image)) is not None]
    tables = storage.tables("shop")
    tables.mkdir(parents=True)
    pl.DataFrame(
        {
            "image": list(shown.values()),
            "path": [picture.name for picture in pictures],
            "image_key": "k",
            "format": "PNG",
            "mode": "RGB",
            "width": 8,
            "height": 8,
            "bytes": 9,
        }
    ).write_parquet(tables / "images.parquet")
    results = [storage.results("shop", "rn50x4", recipe) for recipe in ("first", "second")]
    publish(results, {"shop": tables}, storage.evaluation)
    monkeypatch.setenv("DAGSTER_HOME", str(storage.root))
    page = project.folder / "page.html"
    command = [
        "compare",
        *(f"shop/rn50x4/{recipe}/combiner" for recipe in ("first", "second")),
        *("--page", str(page)),
    ]
    never_made = CliRunner().invoke(main, command)
    assert never_made.exit_code == 1
    assert "shop/raw was never made" in never_made.output
    assert not page.exists()
    raw = Made("version", {"folder": {"path": str(pictures[0].parent)}}, {})
    Ledger(storage.ledger).record("shop/raw", raw.to_entry("fingerprint", storage.root))
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    written = page.read_text(encoding="utf-8")
    assert 'alt="Reference: val-dress-0"' in written
    assert 'alt="Target: val-dress-1"' in written
    assert "cannot be shown" not in written
