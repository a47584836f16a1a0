"""Two evaluations are compared query by query, and what cannot be compared says why."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from cir_assets.command_line import main
from cir_assets.reporting.comparison import (
    NotComparable,
    compare_evaluations,
    compare_rankings,
    published_pair,
    short_names,
)
from cir_assets.retrieval.evaluation import Evaluation, compare, evaluate
from cir_assets.retrieval.protocols import query_groups
from cir_assets.store.publishing import open_publication, publish
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
    # First those that crossed 10 or 50, and in proportion: 60 -> 9 is more than 20 -> 70.
    assert found.changes.select("first_rank", "second_rank", "crossed").rows() == [
        *((60, 9, 10), (20, 70, 50)),
        *((11, 12, None), (1, 1, None)),
    ]
    assert found.cut_offs == (10, 50)


def test_what_crossed_k_stands_first_and_the_rest_in_proportion() -> None:
    found = compare_rankings(rankings([493, 12, 40, 30]), rankings([124, 9, 11, 60]), "fashioniq")
    assert found.nearer["first_rank"].to_list() == [12, 493, 40]
    assert found.further["first_rank"].to_list() == [30]


def test_names_are_told_as_far_as_they_differ() -> None:
    assert short_names("shop/tiny/small/sum", "shop/tiny/small/combiner") == ("sum", "combiner")
    assert short_names("shop/tiny/small/sum", "shop/tiny/best/sum") == ("small", "best")
    assert short_names("shop/rankings/theirs/theirs", "shop/tiny/best/sum") == (
        "rankings/theirs/theirs",
        "tiny/best/sum",
    )
    assert short_names("a/b", "a/b") == ("a/b", "a/b")


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


def test_queries_only_one_ranked_and_other_words_are_said() -> None:
    first, second = rankings([1, 2, 3]), rankings([1, 2, 3, 4]).slice(1)
    found = compare_rankings(first, second.with_columns(caption=pl.lit("is blue")), "fashioniq")
    assert found.queries == 2
    assert found.notes == (
        "Compared are the 2 queries both ranked; 1 of the first alone and 1 of the second alone are left out.",
        "2 queries had another caption or reference in the first than in the second.",
        "The two rank the target of every query alike.",
    )
    alike = compare_rankings(first, first, "fashioniq")
    assert alike.notes == ("The two rank the target of every query alike.",)
    assert alike.nearer.height == alike.further.height == 0


def evaluation(
    name: str, ranks: dict[str, int], *, day: int = 0, gallery_size: int = 9, **said: str
) -> dict[str, pl.DataFrame]:
    """The published rows of an evaluation of the queries of ``ranks``."""
    made = frames(name, day)
    made["evaluations"] = made["evaluations"].with_columns(recipe=pl.lit(name.split("-")[0]), **_texts(said))
    [ranked] = made["rankings"].rows(named=True)
    made["rankings"] = pl.DataFrame([{**ranked, "query_id": q, "target_rank": r} for q, r in ranks.items()])
    dress = made["metrics"].with_columns(category=pl.lit("dress"), gallery_size=gallery_size)
    made["metrics"] = pl.concat([made["metrics"], dress], how="vertical_relaxed")
    return made


def _texts(said: dict[str, str]) -> dict[str, pl.Expr]:
    return {column: pl.lit(value) for column, value in said.items()}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published database with evaluations of three recipes, one of them evaluated again."""
    folder = tmp_path_factory.mktemp("published")
    each = {
        "first": [evaluation("first", {"q": 1, "r": 30})],
        "second": [
            evaluation("second", {"q": 1, "r": 20}),
            evaluation("second-again", {"q": 1, "r": 2}, day=1),
            evaluation("second-test", {"q": 1}, split="test"),
        ],
        "wide": [evaluation("wide", {"q": 1, "r": 1}, gallery_size=12)],
    }
    for recipe, evaluations in each.items():
        for made in evaluations:
            write_results(folder / f"{recipe}.duckdb", made)
    publish([folder / f"{recipe}.duckdb" for recipe in each], {}, folder / "evaluation.duckdb")
    return folder / "evaluation.duckdb"


@pytest.fixture
def storage(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A storage folder of one's own with that database."""
    shutil.copyfile(database, tmp_path / "evaluation.duckdb")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


def compared(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["compare", *arguments])


def test_the_command_prints_a_table_and_names_what_there_is(storage: Path) -> None:
    names = [f"fashioniq/rn50x4/{recipe}/combiner" for recipe in ("first", "second")]
    done = compared(*names)
    assert done.exit_code == 0, done.output
    assert "+50.0 (+0.0 to +100.0)" in next(line for line in done.output.splitlines() if "recall@10" in line)
    assert "gained and lost: the target came within k with second alone, and with first alone" in done.output
    assert (
        "1 target nearer; the first 1, those that crossed k = 10 or 50 first, then in proportion:"
        in done.output
    )
    assert "0 targets further\n" in done.output
    same = compared(names[0], names[0])
    assert same.exit_code == 1
    assert "are the same evaluation, first: there is no difference to tell; name another one" in same.output
    wrong = compared(names[0], "fashioniq/rn50x4/third/combiner")
    assert wrong.exit_code == 1
    assert "there are: fashioniq/rn50x4/first/combiner, fashioniq/rn50x4/second/combiner" in wrong.output
    elsewhere = compared(*names, "--protocol", "cirr")
    assert elsewhere.exit_code == 1
    assert "was not evaluated on val under cirr, but on val under fashioniq" in elsewhere.output
    (storage / "evaluation.duckdb").unlink()
    absent = compared(*names)
    assert absent.exit_code == 1
    assert "materialize the asset leaderboard, or run make demo" in absent.output


def test_an_older_evaluation_is_named_by_its_id(storage: Path) -> None:
    done = compared("second", "fashioniq/rn50x4/second/combiner")
    assert done.exit_code == 0, done.output
    assert "minus fashioniq/rn50x4/second/combiner (second, 2026-01-01 00:00 UTC)" in done.output
    assert "20 -> 2 " in done.output
    # What is named by its pipeline is taken on the split of what is named by id.
    assert "are the same evaluation" in compared("second-test", "fashioniq/rn50x4/second/combiner").output
    wrong = compared("nobody", "second")
    assert wrong.exit_code == 1
    assert "no evaluation 'nobody'" in wrong.output


def test_other_splits_and_other_galleries_are_refused(storage: Path) -> None:
    splits = compared("second", "second-test")
    assert splits.exit_code == 1
    assert "only evaluations of one split and protocol" in splits.output
    galleries = compared("fashioniq/rn50x4/first/combiner", "fashioniq/rn50x4/wide/combiner")
    assert galleries.exit_code == 1
    assert "in dress the first ranked 9 pictures and the second 12" in galleries.output


def test_an_evaluation_whose_rankings_went_says_so(storage: Path) -> None:
    with duckdb.connect(str(storage / "evaluation.duckdb")) as connection:
        connection.execute("DELETE FROM rankings WHERE evaluation_id = 'second'")
    gone = compared("second", "second-again")
    assert gone.exit_code == 1
    assert "only the figures are kept" in gone.output


def test_average_precision_of_several_targets_is_compared_as_it_was_evaluated(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    images = [f"i{number:02d}" for number in range(40)]
    galleries = pl.DataFrame({"image": images, "position": range(40), "split": "val", "category": "all"})
    chosen = [random.permutation(40)[:5] for _ in range(12)]
    triplets = pl.DataFrame(
        {
            "triplet_id": [f"q{number}" for number in range(12)],
            "split": "val",
            "category": "all",
            "reference": [images[five[0]] for five in chosen],
            "target": [images[five[1]] for five in chosen],
            "captions": [["is red"]] * 12,
            "further_targets": [
                [images[i] for i in five[2 : 2 + query % 4]] for query, five in enumerate(chosen)
            ],
            "set_id": pl.Series([None] * 12, dtype=pl.String),
            "set_members": pl.Series([None] * 12, dtype=pl.List(pl.String)),
        }
    )
    groups = query_groups("circo", "val", images, galleries, triplets)
    features = random.standard_normal((40, 6)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    found = {}
    for noise in (2.0, 0.5):
        queries = np.stack([features[five[1]] for five in chosen]) + noise * random.standard_normal((12, 6))
        queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
        found[f"noise{noise:g}"] = evaluate("circo", groups, queries, features)
    for name, each in found.items():
        write_results(tmp_path / f"{name}.duckdb", as_published(name, each, images))
    tables = tmp_path / "tables"
    tables.mkdir()
    galleries.write_parquet(tables / "galleries.parquet")
    triplets.write_parquet(tables / "triplets.parquet")
    files = [tmp_path / f"{name}.duckdb" for name in found]
    publish(files, {"circo": tables}, tmp_path / "evaluation.duckdb")
    with open_publication(tmp_path / "evaluation.duckdb") as connection:
        shown = compare_evaluations(*published_pair(connection, "noise2", "noise0.5"))
    by_name = {metric.metric: metric for metric in shown.metrics}
    expected = compare(found["noise0.5"], found["noise2"])
    assert by_name["headline"].difference.value == pytest.approx(expected.value)
    assert by_name["headline"].difference.low == pytest.approx(expected.low)
    assert by_name["mean_average_precision@10"].second == pytest.approx(found["noise0.5"].headline)
    assert shown.notes == ()
    # Today's targets are others than those it was evaluated with.
    triplets.with_columns(further_targets=pl.lit(images[:3])).write_parquet(tables / "triplets.parquet")
    publish(files, {"circo": tables}, tmp_path / "evaluation.duckdb")
    with open_publication(tmp_path / "evaluation.duckdb") as connection:
        shown = compare_evaluations(*published_pair(connection, "noise2", "noise0.5"))
    assert [metric.metric for metric in shown.metrics] == [f"recall@{k}" for k in (5, 10, 25, 50)]
    assert "headline (mean_average_precision@10) is not compared" in shown.notes[0]


def as_published(name: str, found: Evaluation, images: list[str]) -> dict[str, pl.DataFrame]:
    """An evaluation as the rows of the published tables."""
    made = frames(name)
    said = {"dataset": "circo", "recipe": name, "protocol": "circo"}
    named = pl.Series("image", images)
    return {
        **made,
        "evaluations": made["evaluations"].with_columns(**_texts(said)),
        "metrics": found.metrics.with_columns(evaluation_id=pl.lit(name), queries=12, gallery_size=40),
        "rankings": found.rankings.with_columns(
            evaluation_id=pl.lit(name),
            reference=named.gather(found.rankings["reference_row"]),
            target=named.gather(found.rankings["target_row"]),
            target_rank=pl.col("target_rank") + 1,
            text_weight=pl.lit(None, pl.Float32),
        ),
        "retrieved": found.retrieved.with_columns(
            evaluation_id=pl.lit(name),
            rank=pl.col("rank") + 1,
            image=named.gather(found.retrieved["image_row"]),
        ),
    }


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
