"""How long what serves may go unconfirmed: told first, then failed, by the most patient rule."""

from __future__ import annotations

import time

import dagster as dg
import pytest

from cir_assets.graph.freshness import freshness_policy, overdue
from cir_assets.retrieval.promotion import PromotionRule

RULES = (
    PromotionRule(warn_after_days=2, stale_after_days=5),
    PromotionRule(warn_after_days=1, stale_after_days=3),
)


@pytest.mark.parametrize(
    ("days", "said"), [(1.9, None), (2.1, "2 days ago: its freshness policy warns"), (5.1, "policy fails")]
)
def test_what_was_made_too_long_ago_is_named_and_what_was_never_made_is_not(
    instance: dg.DagsterInstance, days: float, said: str | None
) -> None:
    def step() -> None:
        """Made by hand."""

    assets = [
        dg.asset(name=name, freshness_policy=policy)(step)
        for name, policy in (
            ("champion", freshness_policy(RULES)),
            ("never", freshness_policy([])),
            ("raw", None),
        )
    ]
    graph = dg.Definitions(assets=assets).resolve_asset_graph()
    for name in ("champion", "raw"):
        instance.report_runless_asset_event(dg.AssetMaterialization(name))
    found = overdue(instance, graph, time.time() + days * 86_400)
    assert list(found) == ([dg.AssetKey("champion")] if said else [])
    assert all(str(said) in why for why in found.values())
