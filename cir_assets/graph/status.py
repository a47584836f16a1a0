"""What of a graph is stale, overdue or wrong now, as its instance knows it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from cir_assets.graph.freshness import overdue
from cir_assets.graph.sensors.stale_sweep import stale_assets
from cir_assets.pipeline.holding import held_refreshes
from cir_assets.store.layout import Storage


@dataclass(frozen=True)
class Status:
    """The state of a graph, assets by name.

    Attributes:
        stale: made from something that changed since, and free to be made again.
        left_alone: stale too -> why it is not asked for.
        overdue: past a window of its freshness policy -> since when.
        wrong: data sets whose definition is wrong -> what is wrong.
        held: data sets whose refresh waits for a person -> what it found.
    """

    stale: Sequence[str]
    left_alone: Mapping[str, str]
    overdue: Mapping[str, str]
    wrong: Mapping[str, str]
    held: Mapping[str, str]


def status_of(definitions: dg.Definitions) -> Status:
    """The state of the graph that these definitions make, in the instance of ``DAGSTER_HOME``."""
    warnings.simplefilter("ignore", category=dg.BetaWarning)
    graph = definitions.resolve_asset_graph()
    with dg.DagsterInstance.get() as instance:
        free, left = stale_assets(instance, graph)
        late = overdue(instance, graph)
    broken = [key for key in graph.materializable_asset_keys if key.path[-1] == "broken_definition"]
    return Status(
        [key.to_user_string() for key in free],
        {key.to_user_string(): why for key, why in left.items()},
        {key.to_user_string(): since for key, since in late.items()},
        {key.path[0]: str(graph.get(key).description) for key in sorted(broken)},
        held_refreshes(Storage()),
    )
