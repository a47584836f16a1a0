"""Conditions: when an asset is made again by itself. There is one; who evaluates it is a sensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg
from dagster import AutomationCondition as Condition


def on_upstream_change(*, waits: bool = True, may_be_missing: Sequence[dg.AssetKey] = ()) -> Condition[Any]:
    """The condition on every asset below the roots: made again when what it is made from changed.

    It fires when

    - a dependency's *data version* changed: a dependency that was made again with the same content does
      not count, and neither does one made in a run that also made this asset;
    - this asset's own code version changed (its code generation or its resolved configuration);
    - this asset is newly missing, which is how a new pipeline starts by itself;
    - its last run failed, once: a second failure in a row is left for a person. A blocking check of its own
      that failed is no reason to try again: the same would come out.

    It holds while a dependency is missing, is being made, or fails a blocking check, and while this asset
    is itself being made. What fired stays remembered until a run is asked for, and a change that lands
    after the asking is remembered for the next run: ``since_last_handled`` would forget it when the running
    one finishes.

    With ``waits=False`` no dependency holds it, whatever its state: the leaderboard waits for nobody. Those of
    ``may_be_missing`` do not hold it while they are missing.
    """
    dependency_changed = Condition.any_deps_match(
        Condition.data_version_changed() & ~Condition.executed_with_root_target()
    ).with_label("a dependency's content changed")
    changed = dependency_changed | Condition.code_version_changed() | Condition.missing().newly_true()
    # From the first failure on, until a success or a change gives a reason to try anew.
    refused = Condition.any_checks_match(Condition.check_failed(), blocking_only=True)
    failing = (Condition.execution_failed() & ~refused).since(Condition.newly_updated() | changed)
    fired = (changed | failing.newly_true()).with_label("changed, newly missing or failed once")
    # A change seen in the very tick that follows the asking must not be wiped out by it.
    remembered = fired.since(Condition.newly_requested() & ~fired).with_label("not yet asked for")
    held: Any = Condition.in_progress()
    if waits:
        held = (
            held
            | Condition.any_deps_in_progress()
            | Condition.any_deps_missing().ignore(dg.AssetSelection.assets(*may_be_missing))
            | Condition.any_deps_match(
                Condition.any_checks_match(Condition.check_failed(), blocking_only=True)
            )
        )
    condition: Condition[Any] = (remembered & ~held.with_label("held")).with_label("on_upstream_change")
    return condition
