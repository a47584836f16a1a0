"""What the UI shows of a table is what its contract says."""

from __future__ import annotations

import pytest

from cir_assets.graph.columns import UI_TYPES, column_schema
from cir_assets.store.contracts import PUBLISHED_TABLES, Table


@pytest.mark.parametrize("table", PUBLISHED_TABLES, ids=lambda table: table.name)
def test_every_column_has_its_name_a_type_people_read_and_its_meaning(table: Table) -> None:
    shown = column_schema(table).columns
    assert [column.name for column in shown] == list(table.names)
    assert {column.type for column in shown} <= set(UI_TYPES.values())
    assert [column.description for column in shown] == [column.meaning for column in table.columns]
