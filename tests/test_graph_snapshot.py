"""The graph stays as it is committed, line by line: keys, code versions, conditions, checks, columns, sensors."""

from __future__ import annotations

import difflib
import json

import pytest

from tests.graph_snapshot import COMMAND, SNAPSHOT, snapshot


def test_the_graph_is_as_it_was_committed() -> None:
    committed, now = SNAPSHOT.read_text(encoding="utf-8"), snapshot()
    changed = difflib.unified_diff(
        committed.splitlines(), now.splitlines(), "committed", "now", n=2, lineterm=""
    )
    if now != committed:
        pytest.fail(
            "The graph is another one. A code version that changes is a step made again; where all of this is "
            f"meant, rewrite {SNAPSHOT.name} with `{COMMAND}`:\n" + "\n".join(changed),
            pytrace=False,
        )


def test_nothing_a_machine_decides_stands_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where the project and its storage lie, nor whom its webhook tells."""
    monkeypatch.setenv("CIR_ASSETS_WEBHOOK_URL", "https://example.org/hook")
    monkeypatch.setenv("DAGSTER_HOME", "/nowhere")
    assert snapshot() == SNAPSHOT.read_text(encoding="utf-8")


def test_it_holds_what_decides_that_an_asset_is_made_again() -> None:
    told = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    champion = told["assets"]["wardrobe/tiny_clip/small/champion"]
    assert champion["code_version"]
    assert (
        "  fail_window: SerializableTimeDelta(days=90, seconds=0, microseconds=0)"
        in champion["freshness_policy"]
    )
    condition = told["conditions"][champion["condition"].removeprefix("as ")]
    assert condition[0] == "AndAutomationCondition(label='on_upstream_change')"
    assert "image string: the picture's id in its data set" in told["assets"]["wardrobe/images"]["columns"]
    assert told["sensors"]["dead_runs"]["every_seconds"] == 30
