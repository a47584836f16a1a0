"""Freshness: how long champions and the leaderboard may go without being made or confirmed, and which went too long."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg

from cir_assets.retrieval.promotion import PromotionRule

if TYPE_CHECKING:
    from cir_assets.graph.private import AssetGraph


def freshness_policy(rules: Iterable[PromotionRule]) -> dg.FreshnessPolicy:
    """Windows in which an asset must have been made: those of the most patient rule."""
    patient = max(rules, key=lambda rule: rule.stale_after_days, default=PromotionRule())
    return dg.FreshnessPolicy.time_window(
        timedelta(days=patient.stale_after_days), warn_window=timedelta(days=patient.warn_after_days)
    )


def overdue(
    instance: dg.DagsterInstance, graph: AssetGraph, now: float | None = None
) -> dict[dg.AssetKey, str]:
    """Assets past a window of their freshness policy at ``now`` (seconds since 1970), and since when."""
    found: dict[dg.AssetKey, str] = {}
    for key in sorted(graph.materializable_asset_keys):
        policy, made = graph.get(key).freshness_policy, instance.get_latest_materialization_event(key)
        if made is None or policy is None:
            continue
        age = timedelta(seconds=(time.time() if now is None else now) - made.timestamp)
        windows = {
            "fails": getattr(policy, "fail_window", None),
            "warns": getattr(policy, "warn_window", None),
        }
        passed = (word for word, window in windows.items() if window and age >= window.to_timedelta())
        if state := next(passed, None):
            days = age / timedelta(days=1)
            found[key] = f"last made or confirmed {days:.0f} days ago: its freshness policy {state}"
    return found
