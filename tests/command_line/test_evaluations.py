"""What was evaluated is shown as tables for people, and as JSON and CSV for programs."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from cir_assets.command_line import evaluations
from cir_assets.command_line.output import terminal
from cir_assets.store.publishing import publish
from cir_assets.store.results import write_results
from tests.command_line.conftest import MARKUP, ran
from tests.store.test_results import frames


def test_the_ladder_and_a_comparison_of_what_was_published(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = ran("ladder", "--dataset", "fashioniq")
    assert nothing.exit_code == 1
    assert "materialize the asset leaderboard, or run make demo" in nothing.output
    made = frames("one")
    ranked = made["rankings"].with_columns(reference=pl.lit(MARKUP), caption=pl.lit(MARKUP))
    two = made["evaluations"].with_columns(evaluation_id=pl.lit("two"))
    further = ranked.with_columns(evaluation_id=pl.lit("two"), target_rank=pl.lit(9))
    write_results(
        home / "one.duckdb",
        {
            **made,
            "evaluations": pl.concat([made["evaluations"], two]),
            "rankings": pl.concat([ranked, further], how="vertical_relaxed"),
        },
    )
    publish([home / "one.duckdb"], {}, home / "evaluation.duckdb")
    shown = ran("ladder", "--dataset", "fashioniq")
    assert shown.exit_code == 0
    assert "Combiner" in shown.output
    assert f"tables: {home / 'evaluation.duckdb'}" in shown.output
    with monkeypatch.context() as narrowed:
        narrowed.setattr(evaluations, "terminal", lambda: terminal(60))
        narrow = ran("ladder", "--dataset", "fashioniq").output
    assert "…" not in narrow
    assert {"50.0", "(49.0–51.0)"} <= set(narrow.split())
    other = ran("ladder", "--dataset", "cirr")
    assert other.exit_code == 1
    assert "nothing of 'cirr' was evaluated yet" in other.output
    rows = json.loads(ran("ladder", "--dataset", "fashioniq", "--json").stdout)
    assert {row["method"] for row in rows} == {"combiner"}
    header, first, *_ = ran("ladder", "--dataset", "fashioniq", "--csv").stdout.splitlines()
    assert header.split(",")[:6] == ["dataset", "backbone", "recipe", "split", "protocol", "method"]
    assert first.startswith("fashioniq,")
    [best] = json.loads(ran("leaderboard", "--json").stdout)
    assert best["method"] == "combiner"
    assert "combiner" in ran("leaderboard").stdout
    counted = ran("sql", "SELECT count(*) AS queries FROM rankings", "--csv")
    assert counted.stdout == "queries\n2\n"
    refused = ran("sql", "DELETE FROM rankings")
    assert refused.exit_code == 1
    assert "read-only" in refused.output
    [*_, metric] = json.loads(ran("compare", "one", "two", "--json").stdout)
    assert metric["second_value"] == pytest.approx(metric["first_value"] + metric["difference"])
    nowhere = ran("compare", "one", "two", "--page", str(home / "nowhere" / "page.html"))
    assert nowhere.exit_code == 2
    assert not (home / "nowhere").exists()
    compared = ran("compare", "one", "two")
    assert compared.exit_code == 0
    assert f"1 -> 9      {MARKUP}  {MARKUP}" in compared.output
