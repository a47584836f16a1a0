"""What is made of a data set when a person asks for all of it."""

from __future__ import annotations

import pytest

from cir_assets.command_line import making
from tests.command_line.conftest import ran


def test_run_makes_report_champion_and_search_of_ones_own_data(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(making, "materialize", lambda selection, module, **_: asked.append(selection))
    assert ran("run", "shop").exit_code == 0
    [selection] = asked
    assert selection == " or ".join(
        [*(f'+key:"shop/*/*/{step}"' for step in ("report", "champion", "search")), 'key:"leaderboard"']
    )
