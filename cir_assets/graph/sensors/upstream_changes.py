"""``upstream_changes``: evaluates every asset's condition, whenever anything happened that could change one."""

from __future__ import annotations

import dagster as dg

from cir_assets.graph.opening import opened_instance
from cir_assets.graph.private import AssetGraph, ConditionSensor, Moment, newest_event
from cir_assets.graph.run_tags import named, run_tags

LOOKS_THROWN_AWAY = 3
"""In a row; where something happens without end, the next one counts all the same."""


def upstream_changes_sensor(every_seconds: int) -> dg.SensorDefinition:
    """The sensor that evaluates the condition of every asset; running from the start."""
    return UpstreamChanges(
        "upstream_changes",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=every_seconds,
        use_user_code_server=True,
        description="Asks for a run of every asset whose dependencies, code or configuration changed.",
    )


class UpstreamChanges(ConditionSensor):
    """Evaluates the conditions only when something happened since, and over one state of things.

    Conditions read what was made, what runs and which code is loaded; none of them reads the clock. As long as no
    event came, they would say what they said before, at the cost of a thousand questions to Dagster's databases. And
    where an event came while they were evaluated, one may have read what was made before it and what runs after it:
    the same change would then be seen twice, and be made twice. What was found is thrown away and looked for again.
    """

    _seen: Moment | None = None
    _began: Moment | None = None
    _thrown_away = 0

    def needless(self, context: dg.SensorEvaluationContext) -> str | None:
        """Where no event came since the last look that counted."""
        self._began = newest_event(opened_instance(context))
        # A cursor somebody emptied asks for a look at everything.
        known = self._began == self._seen and context.cursor is not None
        return "nothing happened since the last look" if known else None

    def outdated(self, context: dg.SensorEvaluationContext) -> str | None:
        """Where an event came since this look began."""
        if newest_event(opened_instance(context)) != self._began and self._thrown_away < LOOKS_THROWN_AWAY:
            self._thrown_away += 1
            return "something happened during this look; looking again"
        self._seen, self._thrown_away = self._began, 0
        return None

    def tags_of(self, context: dg.SensorEvaluationContext, request: dg.RunRequest) -> dict[str, str]:
        """Data set, recipe and reason."""
        assert context.repository_def is not None
        keys = list(request.asset_selection or [])
        why = {"because": reason(context.instance, context.repository_def.asset_graph, keys)}
        return run_tags(keys, why) | why


def reason(instance: dg.DagsterInstance, graph: AssetGraph, keys: list[dg.AssetKey]) -> str:
    """Why assets are asked for: what they are made from that is newer than they, else what else there is."""
    made = {key: instance.get_latest_materialization_event(key) for key in keys}
    newer = set()
    for key, event in made.items():
        for parent in graph.get(key).parent_keys - made.keys():
            before = instance.get_latest_materialization_event(parent)
            if event is not None and before is not None and before.timestamp > event.timestamp:
                newer.add(parent.to_user_string())
    if newer:
        return f"changed: {named(newer)}"
    if never := {key.to_user_string() for key, event in made.items() if event is None}:
        return f"never made: {named(never)}"
    return "its recipe or code changed, or it failed once"
