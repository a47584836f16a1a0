"""Two evaluations are compared query by query, and what cannot be compared says why."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from cir_assets.command_line import main
from cir_assets.reporting.comparison import NotComparable, compare_rankings
from cir_assets.store.publishing import publish
from cir_assets.store.results import write_results
from tests.store.test_results import frames


def rankings(ranks: list[int], *, subset: list[int] | None = None, target: str = "t") -> pl.DataFrame:
    count = len(ranks)
    return pl.DataFrame(
        {
            "query_id": [f"q{number:05d}" for number in range(count)],
            "category": ["dress" if number % 2 else "shirt" for number in range(count)],
            "reference": ["r"] * count,
            "caption": ["is red"] * count,
            "target": [target] * count,
            "target_rank": pl.Series(ranks, dtype=pl.Int32),
            "subset_rank": pl.Series(subset or [None] * count, dtype=pl.Int32),
        }
    )


def test_differences_are_those_of_the_ranks_and_gains_and_losses_are_counted() -> None:
    found = compare_rankings(rankings([1, 60, 11, 20]), rankings([1, 9, 12, 70]), "fashioniq")
    by_name = {metric.metric: metric for metric in found.metrics}
    assert list(by_name) == ["headline", "recall@10", "recall@50"]
    ten, fifty = by_name["recall@10"], by_name["recall@50"]
    assert (ten.first, ten.second, ten.gained, ten.lost) == (25, 50, 1, 0)
    assert (fifty.first, fifty.second, fifty.gained, fifty.lost) == (75, 75, 1, 1)
    assert by_name["headline"].difference.value == pytest.approx(12.5)
    assert found.changes["places"].to_list() == [51, 0, -1, -50]


def test_the_interval_agrees_with_resampling_written_out() -> None:
    random = np.random.default_rng(3)
    first = random.integers(1, 60, 400).tolist()
    second = random.integers(1, 40, 400).tolist()
    found = compare_rankings(rankings(first), rankings(second), "fashioniq")
    ten = next(metric.difference for metric in found.metrics if metric.metric == "recall@10")
    gains = np.array([(b <= 10) - (a <= 10) for a, b in zip(first, second, strict=True)], float)
    halves = [gains[0::2], gains[1::2]]
    draws = [
        100 * np.mean([half[random.integers(0, 200, 200)].mean() for half in halves]) for _ in range(4_000)
    ]
    assert [ten.low, ten.high] == pytest.approx(np.percentile(draws, [2.5, 97.5]), abs=0.8)


def test_subset_recalls_are_compared_where_there_are_sets() -> None:
    one, two = rankings([1, 2], subset=[3, 1]), rankings([1, 2], subset=[1, 1])
    names = {metric.metric: metric.difference.value for metric in compare_rankings(one, two, "cirr").metrics}
    assert names["subset_recall@1"] == 50
    assert names["subset_recall@3"] == 0


def test_what_cannot_be_compared_says_why() -> None:
    with pytest.raises(NotComparable, match="share no query"):
        compare_rankings(rankings([1]), rankings([1]).with_columns(category=pl.lit("x")), "fashioniq")
    with pytest.raises(NotComparable, match="different targets"):
        compare_rankings(rankings([1]), rankings([1], target="u"), "fashioniq")


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A published database with two evaluations of one query."""
    for recipe in ("first", "second"):
        made = frames(recipe)
        made["evaluations"] = made["evaluations"].with_columns(recipe=pl.lit(recipe))
        write_results(tmp_path / f"{recipe}.duckdb", made)
    publish([tmp_path / "first.duckdb", tmp_path / "second.duckdb"], {}, tmp_path / "evaluation.duckdb")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


def test_the_command_prints_a_table_and_names_what_there_is(storage: Path) -> None:
    names = [f"fashioniq/rn50x4/{recipe}/combiner" for recipe in ("first", "second")]
    done = CliRunner().invoke(main, ["compare", *names])
    assert done.exit_code == 0, done.output
    assert "recall@10" in done.output
    assert "+0.0 (+0.0 to +0.0)" in done.output
    wrong = CliRunner().invoke(main, ["compare", names[0], "fashioniq/rn50x4/third/combiner"])
    assert wrong.exit_code == 1
    assert "there are: fashioniq/rn50x4/first/combiner, fashioniq/rn50x4/second/combiner" in wrong.output
    (storage / "evaluation.duckdb").unlink()
    absent = CliRunner().invoke(main, ["compare", *names])
    assert absent.exit_code == 1
    assert "materialize the asset leaderboard, or run make demo" in absent.output


def test_a_database_of_an_older_form_or_none_at_all_says_what_to_do(storage: Path) -> None:
    names = [f"fashioniq/rn50x4/{recipe}/combiner" for recipe in ("first", "second")]
    with duckdb.connect(str(storage / "evaluation.duckdb")) as connection:
        connection.execute("ALTER TABLE rankings DROP COLUMN text_weight")
    for command in (["compare", *names], ["ladder", "--dataset", "fashioniq"]):
        older = CliRunner().invoke(main, command)
        assert older.exit_code == 1
        assert (
            "of an older form: it lacks rankings.text_weight; materialize the asset leaderboard"
            in older.output
        )
    (storage / "evaluation.duckdb").write_bytes(b"not a database at all" * 400)
    broken = CliRunner().invoke(main, ["compare", *names])
    assert broken.exit_code == 1
    assert "is no database DuckDB can read" in broken.output
