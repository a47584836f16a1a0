"""What Dagster has and gives no public name: each with the reason, and a test that says which Dagster has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

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
