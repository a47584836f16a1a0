"""Dagster's databases as sensors ask them: opened once a process, as opening them is most of what a look costs."""

from __future__ import annotations

import dagster as dg
from dagster_shared.serdes import serialize_value

_OPENED: dict[str, dg.DagsterInstance] = {}


def opened_instance(context: dg.SensorEvaluationContext) -> dg.DagsterInstance:
    """The instance a sensor belongs to, the same at every look."""
    ref = context.instance_ref
    if ref is None:
        return context.instance
    name = serialize_value(ref)
    if name not in _OPENED:
        _OPENED[name] = dg.DagsterInstance.from_ref(ref)
    return _OPENED[name]
