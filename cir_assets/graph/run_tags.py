"""Tags of runs: which data set and recipe they make, and why; what a list of runs is read by."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import dagster as dg

BY_A_PERSON = "a person asked for it"
NO_DATASET = {"backbones", "leaderboard"}
"""First parts of keys that name no data set."""

LONGEST = 250
"""Characters of a tag."""


def run_tags(keys: Iterable[dg.AssetKey], tags: Mapping[str, str]) -> dict[str, str]:
    """What a run over some assets is tagged with besides ``tags``, where these say nothing of it.

    Returns:
        ``dataset`` and ``recipe`` where the assets have any, and ``because``.
    """
    paths = [key.path for key in sorted(keys)]
    said = {
        "dataset": named({path[0] for path in paths if path[0] not in NO_DATASET}),
        "recipe": named({path[2] for path in paths if len(path) > 3}),
        "because": because(tags),
    }
    return {name: value for name, value in said.items() if value and name not in tags}


def because(tags: Mapping[str, str]) -> str:
    """Why a run was asked for, as far as Dagster's own tags tell."""
    if schedule := tags.get("dagster/schedule_name"):
        return f"the schedule {schedule}"
    if sensor := tags.get("dagster/sensor_name"):
        return f"the sensor {sensor}"
    return BY_A_PERSON


def named(names: Collection[str], shown: int = 3) -> str:
    """Names one after another, those past the first few counted."""
    first, further = sorted(names)[:shown], max(0, len(names) - shown)
    return (", ".join(first) + (f" and {further} more" if further else ""))[:LONGEST]
