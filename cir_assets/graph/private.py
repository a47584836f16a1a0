"""What Dagster has and gives no public name: each with the reason, and a test that says which Dagster has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions import automation_condition_sensor_definition
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster_shared.record import replace

AssetGraph = BaseAssetGraph[Any]
"""The graph a sensor finds in ``context.repository_def``: only its base class has the queries a sensor needs."""


def staleness(instance: dg.DagsterInstance, graph: AssetGraph) -> Callable[[dg.AssetKey], bool]:
    """Whether an asset was made from something that changed since: what the UI calls unsynced.

    The resolver behind the UI follows data versions and code versions through the graph; nothing public does.
    """
    from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
    from dagster._core.loader import LoadingContextForTest

    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    return lambda key: resolver.get_status(key) is StaleStatus.STALE


def reloading(context: dg.SensorEvaluationContext) -> Callable[[], object] | None:
    """What has the code server a sensor belongs to load its definitions anew; None where it has none.

    Dagster hands a sensor its code server's address; it has no public name for asking that to reload.
    """
    from dagster._core.remote_origin import GrpcServerCodeLocationOrigin

    origin = context.code_location_origin
    if not isinstance(origin, GrpcServerCodeLocationOrigin):
        return None
    client, timeout = origin.create_client(), context.instance.code_server_reload_timeout
    return lambda: client.reload_code(timeout=timeout)


Moment = tuple[int | None, float]
"""An event's number, and the time in seconds since 1970 at which a run last changed."""

# It is there for the sake of a time-out of a minute; project and docs set one of ten. Five hundred assets are not many.
automation_condition_sensor_definition.MAX_ENTITIES = 100_000


class ConditionSensor(dg.AutomationConditionSensorDefinition):
    """Evaluates the conditions of all assets, but for looks that can find nothing, or found what holds no longer.

    What a look ends in, and where it is evaluated, has no public name.
    """

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> SensorExecutionData:
        """Ask for the runs that conditions want."""
        if why := self.needless(context):
            return SensorExecutionData(skip_message=why, cursor=context.cursor)
        # How many records it looks up is nothing to be told.
        context.log.setLevel("WARNING")
        found = super().evaluate_tick(context)
        if why := self.outdated(context):
            return SensorExecutionData(skip_message=why, cursor=context.cursor)
        if not found.run_requests:
            return found
        asked = [
            request.with_replaced_attrs(tags={**request.tags, **self.tags_of(context, request)})
            for request in found.run_requests
        ]
        return replace(found, run_requests=asked)

    def needless(self, context: dg.SensorEvaluationContext) -> str | None:
        """Why a look would find nothing; None where it may."""
        raise NotImplementedError

    def outdated(self, context: dg.SensorEvaluationContext) -> str | None:
        """Why what was found must be thrown away; None where it counts."""
        raise NotImplementedError

    def tags_of(self, context: dg.SensorEvaluationContext, request: dg.RunRequest) -> dict[str, str]:
        """What a run that is asked for is tagged with."""
        raise NotImplementedError


def newest_event(instance: dg.DagsterInstance) -> Moment:
    """What changes with every event of an asset and every run that begins or ends.

    The numbers of events are public only as a cursor one cannot ask for.
    """
    runs = instance.get_run_records(limit=1, order_by="update_timestamp", ascending=False)
    changed = runs[0].update_timestamp.timestamp() if runs else 0.0
    return instance.event_log_storage.get_maximum_record_id(), changed


def run_services() -> None:
    """What ``dagster dev`` does, with the arguments of this process, and ``run_daemon`` as the daemon.

    Which module the daemon is has no public setting.
    """
    from dagster._cli import dev
    from dagster_shared.ipc import open_ipc_subprocess

    def start(parts: Sequence[str], **options: Any) -> Any:
        own = ["cir_assets.graph.daemon" if part == "dagster._daemon" else part for part in parts]
        return open_ipc_subprocess(own, **options)

    vars(dev)["open_ipc_subprocess"] = start
    dev.dev_command(prog_name="cir-assets ui")


def run_daemon() -> None:
    """Dagster's daemon, which asks once an hour, not once a minute, for the whole graph it has already.

    It looks every three seconds, not every second, whether definitions were loaded anew; asking for all of them besides
    was half of what an idle daemon and its code server did, and grows with the graph. Neither has a public setting.
    """
    from dagster._daemon import controller
    from dagster._daemon.cli import main
    from dagster._grpc import server_watcher

    controller.RELOAD_WORKSPACE_INTERVAL = 3600
    server_watcher.WATCH_INTERVAL = 3
    main()
