"""New models serve only when they are not worse; what was decided is kept, and can be taken back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pytest

from cir_assets.graph.freshness import overdue
from cir_assets.graph.sensors.stale_sweep import stale_assets
from cir_assets.pipeline.judging import first_reason
from cir_assets.retrieval.bootstrap import Difference
from cir_assets.serving.champions import Champions
from cir_assets.store.promotions import PromotionLog, models_digest
from tests.changes import Ran, Shop, fresh_shop
from tests.random_pictures import picture_bytes
from tests.trial_project import metadata_of

PLACE = ("shop", "tiny_clip", "quick")
NEVER = {"margin": 0, "keep_versions": 2}
ALWAYS = {"margin": 100, "better_on_average": False, "keep_versions": 2}


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """One shop whose models are trained anew several times, in the order of these tests."""
    with fresh_shop() as made:
        yield made


def trained_anew(shop: Shop, seed: int, **promotion: Any) -> Ran:
    """Another seed for stage 2, and another rule."""
    shop.stages["combiner"]["seed"] = seed
    shop.promotion = promotion
    shop.write()
    return shop.settle()


def log(shop: Shop) -> PromotionLog:
    return PromotionLog(shop.project.storage.promotions(*PLACE))


def published(shop: Shop, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(shop.project.storage.evaluation), read_only=True) as connection:
        return connection.sql(query).fetchall()


def check_passed(shop: Shop) -> bool | None:
    key = dg.AssetCheckKey(dg.AssetKey([*PLACE, "champion"]), "not_worse")
    [record] = shop.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    return record.evaluation.passed if record.evaluation is not None else None


def cli(shop: Shop, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, on the shop's storage."""
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("cir-assets")),
            *arguments,
            *("--module", f"{shop.project.package}.definitions"),
        ],
        cwd=shop.project.folder,
        env={
            **os.environ,
            "DAGSTER_HOME": str(shop.project.storage.root),
            "PYTHONPATH": str(shop.project.folder),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_models_become_champion(shop: Shop) -> None:
    [row] = log(shop).rows().iter_rows(named=True)
    assert row["decision"] == "promoted"
    # Nothing served before them, so they are held against what needs no training.
    assert re.fullmatch(
        r"the first models of this pipeline: [+-]\d+\.\d\d points \(95 % .* to .*\) against the zero-shot sum, so .*",
        row["reason"],
    )
    assert row["queries"] == 20
    assert published(shop, "SELECT decision, challenger FROM promotions") == [("promoted", row["challenger"])]
    assert check_passed(shop) is True


def test_a_challenger_that_may_be_worse_is_refused_and_the_champion_stays(shop: Shop) -> None:
    before = log(shop).champion()
    ran = trained_anew(shop, 1, **NEVER)
    row = log(shop).rows().row(-1, named=True)
    assert row["decision"] == "refused"
    assert row["difference_low"] <= 0
    assert log(shop).champion() == before
    assert check_passed(shop) is False
    assert not ran.failed, "a decision that went as designed is no failed run"
    assert {"champion", "report", "evaluation", "leaderboard"} <= ran.made
    assert "search" in ran.same
    assert published(shop, "SELECT decision FROM promotions ORDER BY decided_at") == [
        ("promoted",),
        ("refused",),
    ]


def test_a_refusal_is_not_tried_again(shop: Shop) -> None:
    assert shop.idle(3) == []
    assert log(shop).rows().height == 2


def test_the_hourly_sweep_leaves_what_a_refusal_blocks(shop: Shop) -> None:
    assert stale_assets(shop.instance, shop.project.definitions().resolve_asset_graph()) == ([], {})


def test_a_refusal_that_only_warns_fails_no_run(shop: Shop) -> None:
    before = log(shop).champion()
    ran = trained_anew(shop, 2, **NEVER, on_refusal="warn")
    assert log(shop).rows()["decision"].to_list() == ["promoted", "refused", "refused"]
    assert check_passed(shop) is False
    assert not ran.failed
    assert "champion" in ran.made
    assert shop.project.entry("shop/tiny_clip/quick/champion").data_version == models_digest(before or {})


def test_under_a_rule_it_meets_the_same_models_are_promoted(shop: Shop) -> None:
    ran = trained_anew(shop, 2, **ALWAYS)
    assert "combiner" not in ran.made
    assert "champion" in ran.made
    first, *_, row = log(shop).rows().iter_rows(named=True)
    assert row["decision"] == "promoted"
    assert row["champion"] == first["challenger"]


def test_the_difference_is_that_of_the_two_on_the_same_val_queries(shop: Shop) -> None:
    rows = published(
        shop,
        """SELECT list((target_rank <= 10)::INT ORDER BY category, query_id),
        list((target_rank <= 50)::INT ORDER BY category, query_id)
        FROM rankings JOIN evaluations USING (evaluation_id) WHERE served_because IS NOT NULL AND split = 'val'
        GROUP BY evaluation_id, created_at ORDER BY created_at""",
    )
    headlines = [100 * (np.mean(at_10) + np.mean(at_50)) / 2 for at_10, at_50 in (rows[0], rows[-1])]
    row = log(shop).rows().row(-1, named=True)
    assert row["champion_headline"] == pytest.approx(headlines[0])
    assert row["challenger_headline"] == pytest.approx(headlines[1])
    assert row["difference"] == pytest.approx(headlines[1] - headlines[0])
    assert row["difference_low"] <= row["difference"] <= row["difference_high"]


def test_old_versions_go_but_never_a_champions(shop: Shop) -> None:
    champions = {pair for models in map(_models, log(shop).reigns()["models"]) for pair in models.items()}
    assert len(log(shop).reigns()) == 2
    trained_anew(shop, 3, **NEVER, on_refusal="warn")
    trained_anew(shop, 4, **NEVER, on_refusal="warn")
    there = {folder.name for folder in shop.project.storage.models(*PLACE, "combiner").iterdir()}
    newest = shop.project.entry("shop/tiny_clip/quick/combiner").fingerprint
    assert newest in there
    assert 2 <= len(there) <= 4
    for name, version in champions:
        assert (shop.project.storage.models(*PLACE, name.rpartition("/")[2]) / version).is_dir()
    told = shop.project.storage.ledger / "shop/tiny_clip/quick/combiner"
    assert {entry.stem for entry in told.iterdir()} == there | {"latest"}


def test_one_command_goes_back_to_the_champion_before(shop: Shop) -> None:
    first, second = log(shop).reigns()["challenger"]
    answer = cli(shop, "rollback", "/".join(PLACE), "--because", "customers complained")
    assert answer.returncode == 0, answer.stderr
    assert f"is {first} again, no longer {second}" in answer.stdout
    assert shop.project.entry("shop/tiny_clip/quick/champion").data_version == first
    # What the search server reads, and by which headline it stands among the data set's champions.
    served = Champions(shop.project.storage.root).of("shop").about
    assert (served.champion, served.headline) == (first, log(shop).rows()["challenger_headline"][0])
    [row] = published(shop, "SELECT challenger, reason FROM promotions WHERE decision = 'rolled_back'")
    assert row == (first, "customers complained")


def test_there_is_none_before_the_first(shop: Shop) -> None:
    answer = cli(shop, "rollback", "/".join(PLACE))
    assert answer.returncode == 1
    assert "the only one there ever was" in answer.stderr or "none to go back to" in answer.stderr


def test_models_taken_back_are_not_promoted_again_and_one_run_of_everything_goes_on_around_that(
    shop: Shop,
) -> None:
    champion = log(shop).reigns()["challenger"][-1]
    shop.stages["combiner"]["seed"], shop.promotion = 2, ALWAYS
    shop.write()
    shop.tick()
    (shop.pictures / "new.jpg").write_bytes(picture_bytes("new"))
    result = shop.project.materialize(shop.instance, 'key:"shop/*"', 'key:"leaderboard"')
    row = log(shop).rows().row(-1, named=True)
    assert row["decision"] == "refused"
    assert "rolled these very models back" in row["reason"]
    assert result.success
    told = metadata_of(result, f"{'/'.join(PLACE)}/champion")
    assert told["champion"] == champion
    assert f"{champion} stays champion" in told["newest_decision"]
    assert told["history"].count("\n| 20") == log(shop).rows().height
    assert told["headline"] == pytest.approx(log(shop).rows()["challenger_headline"][0], abs=0.001)
    assert published(
        shop, "SELECT decision, challenger FROM promotions ORDER BY decided_at DESC LIMIT 1"
    ) == [("refused", row["challenger"])]
    searcher = Champions(shop.project.storage.root).of("shop")
    assert searcher.about.champion == champion
    assert len(searcher) == len(list(shop.pictures.iterdir())) == 201
    assert shop.idle(2) == []


def test_a_champion_nobody_confirmed_is_told_of_and_then_fails(shop: Shop) -> None:
    shop.promotion = {**ALWAYS, "warn_after_days": 2, "stale_after_days": 5}
    shop.write()
    graph = shop.project.definitions().resolve_asset_graph()
    assert overdue(shop.instance, graph) == {}
    for days, said in ((1.9, None), (2.1, "2 days ago: its freshness policy warns"), (5.1, "policy fails")):
        found = overdue(shop.instance, graph, time.time() + days * 86_400)
        late = {dg.AssetKey([*PLACE, "champion"]), dg.AssetKey("leaderboard")} if said else set()
        assert found.keys() == late
        assert all(str(said) in why for why in found.values())


def test_status_tells_who_is_champion_and_what_is_stale(shop: Shop) -> None:
    answer = cli(shop, "status")
    assert "shop/tiny_clip/quick" in answer.stdout
    assert log(shop).reigns()["challenger"][-1] in answer.stdout
    assert "refused" in answer.stdout


def _models(text: str) -> dict[str, str]:
    models: dict[str, str] = json.loads(text)
    return models


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (Difference(29.4, 27.5, 31.2), "so they are better than CLIP as it came"),
        (
            Difference(0.0, -3.1, 3.0),
            "so nothing shows that they learnt anything: train longer, or on more triplets",
        ),
        (
            Difference(-4.0, -6.0, -2.0),
            "so they are worse than CLIP as it came: train longer, or on more triplets",
        ),
    ],
)
def test_the_first_promotion_says_what_was_learnt(difference: Difference, said: str) -> None:
    figures = f"{difference.value:+.2f} points (95 % {difference.low:+.2f} to {difference.high:+.2f})"
    assert first_reason(difference) == (
        f"the first models of this pipeline: {figures} against the zero-shot sum, {said}"
    )
