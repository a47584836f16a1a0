"""Dagster's databases as sensors ask them: opened once a process, as opening them is most of what a look costs."""

from __future__ import annotations

from functools import cache

import dagster as dg
from dagster_shared.serdes import deserialize_value, serialize_value


def opened_instance(context: dg.SensorEvaluationContext) -> dg.DagsterInstance:
    """The instance a sensor belongs to, the same at every look."""
    ref = context.instance_ref
    return context.instance if ref is None else _opened(serialize_value(ref))


@cache
def _opened(ref: str) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_ref(deserialize_value(ref))
