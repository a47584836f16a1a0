"""The log of decisions, and the champion that follows from it."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cir_assets.store.contracts import PROMOTIONS
from cir_assets.store.promotions import (
    ChampionChanged,
    Decision,
    NoChampion,
    PromotionLog,
    every_champion,
    models_digest,
    roll_back,
)

START = datetime(2026, 3, 1, 12)


def models(version: int) -> dict[str, str]:
    return {"shop/tiny_clip/quick/combiner": f"version{version}"}


def decision_of(log: PromotionLog, version: int, decision: Literal["promoted", "refused"]) -> Decision:
    before = log.champion()
    return Decision(
        dataset="shop",
        backbone="tiny_clip",
        recipe="quick",
        decided_at=START + timedelta(hours=log.rows().height),
        decision=decision,
        reason="a trial",
        models=models(version),
        champion=models_digest(before) if before else None,
        method="combiner",
        split="val",
        protocol="fashioniq",
        queries=20,
        challenger_headline=50.0 + version,
    )


def decided(log: PromotionLog, version: int, decision: Literal["promoted", "refused"]) -> None:
    log.add(decision_of(log, version, decision))


@pytest.fixture
def log(tmp_path: Path) -> PromotionLog:
    return PromotionLog(tmp_path / "champions" / "shop" / "tiny_clip" / "quick.parquet")


def test_at_first_there_is_no_champion(log: PromotionLog) -> None:
    assert log.champion() is None
    assert log.rows().schema == PROMOTIONS.schema
    with pytest.raises(NoChampion, match="materialize the pipeline's challenger"):
        log.previous()


def test_the_champion_is_who_was_promoted_last(log: PromotionLog) -> None:
    decided(log, 1, "promoted")
    decided(log, 2, "refused")
    assert log.champion() == models(1)
    decided(log, 3, "promoted")
    assert log.champion() == models(3)
    assert log.rows()["decision"].to_list() == ["promoted", "refused", "promoted"]
    assert sorted(file.name for file in log.file.parent.iterdir()) == [".quick.parquet.lock", "quick.parquet"]


def test_rolling_back_goes_to_the_champion_before_and_again_to_the_one_before_that(log: PromotionLog) -> None:
    for version in (1, 2, 3):
        decided(log, version, "promoted")
    assert roll_back(log, "worse in the shop", START).models == models(2)
    assert log.champion() == models(2)
    assert log.rolled_back() == {models_digest(models(3))}
    roll_back(log, "worse too", START)
    assert log.champion() == models(1)
    with pytest.raises(NoChampion, match="the only one"):
        roll_back(log, "and further?", START)
    assert log.rows()["reason"].to_list()[-2:] == ["worse in the shop", "worse too"]


def test_going_back_restores_the_headline_of_the_promotion_even_twice(log: PromotionLog) -> None:
    decided(log, 1, "promoted")
    decided(log, 2, "promoted")
    assert roll_back(log, "worse", START).challenger_headline == 51.0
    # As a log written before headlines were restored has it.
    rows = log.rows()
    rows.with_columns(
        challenger_headline=pl.when(decision="rolled_back").then(None).otherwise("challenger_headline")
    ).write_parquet(log.file)
    decided(log, 3, "promoted")
    assert log.previous()["challenger_headline"] is None
    assert roll_back(log, "worse too", START).challenger_headline == 51.0
    assert log.reigns()["challenger_headline"][-1] == 51.0


def test_a_decision_against_a_champion_that_reigns_no_longer_is_not_written(log: PromotionLog) -> None:
    decided(log, 1, "promoted")
    late, refused = decision_of(log, 3, "promoted"), decision_of(log, 4, "refused")
    decided(log, 2, "promoted")
    with pytest.raises(ChampionChanged, match="decide again"):
        log.add(late)
    log.add(refused)
    assert log.champion() == models(2)
    assert log.rows()["decision"].to_list() == ["promoted", "promoted", "refused"]


def test_two_processes_that_add_at_once_lose_no_decision(log: PromotionLog) -> None:
    code = f"""
import sys
from dataclasses import replace
from pathlib import Path
from cir_assets.store.promotions import PromotionLog
from tests.store.test_promotions import decision_of
log = PromotionLog(Path({str(log.file)!r}))
print("ready", flush=True)
sys.stdin.readline()
for number in range(25):
    log.add(replace(decision_of(log, number, "refused"), reason=f"{{sys.argv[1]}}-{{number}}"))
"""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        )
        for name in ("one", "two")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    expected = {f"{name}-{number}" for name in ("one", "two") for number in range(25)}
    assert set(log.rows()["reason"]) == expected


def test_the_only_champion_cannot_be_rolled_back(log: PromotionLog) -> None:
    decided(log, 1, "promoted")
    with pytest.raises(NoChampion, match="none to go back to"):
        roll_back(log, "oh", START)
    assert log.champion() == models(1)


def test_every_champion_there_ever_was_is_known(log: PromotionLog, tmp_path: Path) -> None:
    decided(log, 1, "promoted")
    decided(log, 2, "refused")
    decided(log, 3, "promoted")
    other = PromotionLog(tmp_path / "champions" / "shop" / "tiny_clip" / "best.parquet")
    decided(other, 4, "promoted")
    versions = {version for _, version in every_champion(tmp_path / "champions")}
    assert versions == {"version1", "version3", "version4"}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(["promoted", "refused", "roll back"]), max_size=12))
def test_whatever_happens_the_champion_was_promoted_once_and_was_not_taken_back(
    tmp_path_factory: pytest.TempPathFactory, events: list[Literal["promoted", "refused", "roll back"]]
) -> None:
    log = PromotionLog(tmp_path_factory.mktemp("log") / "quick.parquet")
    promoted = set()
    for version, event in enumerate(events):
        if event == "roll back":
            try:
                roll_back(log, "a trial", START)
            except NoChampion:
                continue
        else:
            decided(log, version, event)
            if event == "promoted":
                promoted.add(version)
    champion = log.champion()
    assert (champion is None) == (not promoted)
    if champion is not None:
        assert champion in [models(version) for version in promoted]
        assert models_digest(champion) not in log.rolled_back()
