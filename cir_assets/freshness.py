"""How long champions and the leaderboard may go without being made or confirmed, and which have gone too long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from cir_assets.retrieval.promotion import PromotionRule

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph


def freshness_policy(rules: Iterable[PromotionRule]) -> dg.FreshnessPolicy:
    """Windows in which an asset must have been made: those of the most patient rule."""
    patient = max(rules, key=lambda rule: rule.stale_after_days, default=PromotionRule())
    return dg.FreshnessPolicy.time_window(
        timedelta(days=patient.stale_after_days), warn_window=timedelta(days=patient.warn_after_days)
    )


def overdue(instance: dg.DagsterInstance, graph: BaseAssetGraph[Any]) -> dict[dg.AssetKey, str]:
    """Assets past a window of their freshness policy, judged as Dagster's daemon does, and since when."""
    from dagster._core.definitions.freshness import FreshnessState, TimeWindowFreshnessPolicy
    from dagster._core.definitions.freshness_evaluator import TimeWindowFreshnessPolicyEvaluator
    from dagster._core.loader import LoadingContextForTest
    from dagster._time import get_current_timestamp

    found: dict[dg.AssetKey, str] = {}
    for key in sorted(graph.materializable_asset_keys):
        node, made = graph.get(key), instance.get_latest_materialization_event(key)
        if made is None or not isinstance(node.freshness_policy, TimeWindowFreshnessPolicy):
            continue
        judged = TimeWindowFreshnessPolicyEvaluator().evaluate_freshness(
            LoadingContextForTest(instance), node
        )
        state = asyncio.run(judged)
        if state in (FreshnessState.WARN, FreshnessState.FAIL):
            days = (get_current_timestamp() - made.timestamp) / 86_400
            found[key] = (
                f"last made or confirmed {days:.0f} days ago: its freshness policy {state.value.lower()}s"
            )
    return found
