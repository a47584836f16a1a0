"""What is stale, overdue or wrong now, by name."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from cir_assets.graph.conditions import on_upstream_change
from cir_assets.graph.status import status_of


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An instance of one's own on disk."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


def test_what_was_made_of_something_older_is_stale_and_a_wrong_data_set_is_told(home: Path) -> None:
    @dg.asset
    def root() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion((home / "content").read_text()))

    @dg.asset(deps=[root], automation_condition=on_upstream_change())
    def features() -> None: ...

    @dg.asset(key=["shop", "broken_definition"], description="a key is wrong")
    def broken() -> None: ...

    definitions = dg.Definitions(assets=[root, features, broken])
    with dg.DagsterInstance.get() as instance:
        for content, assets in (("1", [root, features]), ("2", [root])):
            (home / "content").write_text(content)
            dg.materialize(assets, instance=instance)
    status = status_of(definitions)
    assert status.stale == ["features"]
    assert (status.left_alone, status.overdue) == ({}, {})
    assert status.wrong == {"shop": "a key is wrong"}
