"""Who is champion and why, and going back."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from cir_assets.command_line import reigning
from cir_assets.store.ledger import Ledger, LedgerEntry
from cir_assets.store.promotions import Decision, PromotionLog, models_digest
from tests.command_line.conftest import MARKUP, ran


@pytest.fixture
def materialized(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The selections a command would have materialized."""
    asked: list[str] = []
    monkeypatch.setattr(reigning, "materialize", lambda selection, module, **_: asked.append(selection))
    return asked


@pytest.fixture
def log(home: Path) -> PromotionLog:
    """A pipeline whose second champion reigns."""
    log = PromotionLog(home / "champions" / "shop" / "tiny_clip" / "quick.parquet")
    for version in (1, 2):
        before = log.champion()
        log.add(
            Decision(
                dataset="shop",
                backbone="tiny_clip",
                recipe="quick",
                decided_at=datetime(2026, 3, version),
                decision="promoted",
                reason=MARKUP,
                models={"shop/tiny_clip/quick/combiner": f"version{version}"},
                champion=models_digest(before) if before else None,
                method="combiner",
                split="val",
                protocol="fashioniq",
                queries=20,
                challenger_headline=50.0 + version,
            )
        )
    return log


def test_status_shows_reasons_as_they_were_written(log: PromotionLog) -> None:
    shown = ran("status")
    assert shown.exit_code == 0, shown.output
    assert str(log.reigns()["challenger"][-1]) in shown.output
    said = " ".join(shown.output.split())
    assert "[blue]" in said
    assert ":smile:" in said
    assert "[/old]" in said
    assert "nothing that was made is stale, and nothing that was asked for is missing" in shown.output


def test_status_tells_what_was_evaluated_and_not_judged_and_what_is_champion_again(
    home: Path, log: PromotionLog
) -> None:
    (home / "results" / "shop" / "tiny_clip").mkdir(parents=True)
    (home / "results" / "shop" / "tiny_clip" / "other.duckdb").touch()
    second = log.reigns().row(-1, named=True)
    refused = Decision(
        **{
            name: second[name]
            for name in ("dataset", "backbone", "recipe", "method", "split", "protocol", "queries")
        },
        decided_at=datetime(2026, 3, 3),
        decision="refused",
        reason="it is worse",
        models={"shop/tiny_clip/quick/combiner": "version3"},
        champion=second["challenger"],
    )
    log.add(refused)

    def told(newest: str) -> dict[str, str]:
        Ledger(home / "ledger").record(
            "shop/tiny_clip/quick/challenger",
            LedgerEntry("fingerprint", "version", {"metadata": {"challenger": newest}}),
            alone=True,
        )
        rows = json.loads(ran("status", "--json").stdout)
        return {row["name"]: row["detail"] for row in rows if row["what"] == "champion"}

    assert told(refused.challenger)["shop/tiny_clip/quick"].startswith("refused: it is worse. ")
    assert told(second["challenger"]) == {
        "shop/tiny_clip/other": "trained and evaluated, not judged yet: make search, or cir-assets run shop",
        "shop/tiny_clip/quick": "the newest models are the champion",
    }


def test_status_needs_definitions() -> None:
    for module, said in (
        ("no_such_module", "there is no module no_such_module"),
        ("json", "no function defs"),
    ):
        wrong = ran("status", "--module", module)
        assert wrong.exit_code == 2
        assert said in wrong.output


def test_a_rollback_makes_again_what_search_serves(log: PromotionLog, materialized: list[str]) -> None:
    first, second = log.reigns()["challenger"]
    done = ran("rollback", "shop/tiny_clip/quick", "--because", MARKUP)
    assert done.exit_code == 0, done.output
    assert f"is {first} again, no longer {second}" in done.output
    assert log.rows()["reason"][-1] == MARKUP
    [selection] = materialized
    for asset in ("shop/tiny_clip/quick/champion", "shop/tiny_clip/quick/search", "leaderboard"):
        assert f'key:"{asset}"' in selection


def test_a_rollback_of_nothing_is_refused(home: Path, materialized: list[str]) -> None:
    for pipeline in ("shop", "shop/tiny_clip", "../../x", 'a/b/c" or key:"d'):
        assert ran("rollback", pipeline).exit_code == 2
    none = ran("rollback", "shop/tiny_clip/quick")
    assert none.exit_code == 1
    assert "there is no champion in" in none.output
    assert materialized == []
    assert list(home.iterdir()) == []
