"""Resources: what every step and sensor of the graph is given. What belongs to one step alone is no resource."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import dagster as dg
from pydantic import Field

from cir_assets.graph.recovery import end_dead_runs, heartbeat, process_tag
from cir_assets.graph.run_tags import run_tags
from cir_assets.store.layout import Storage


class StorageFolder(dg.ConfigurableResource):
    """The storage folder everything is written below."""

    folder: str | None = Field(
        default=None,
        description="Absolute or relative to the working folder; by default DAGSTER_HOME, else storage.",
    )

    @property
    def storage(self) -> Storage:
        """Its layout."""
        return Storage(self.folder)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Self]:
        """Before a run's first step: tag it, say who executes it, and end dead runs, so that it need not wait."""
        if context.instance is None or context.run is None:
            yield self
            return
        heartbeats = self.storage.heartbeats
        run = context.run
        context.instance.add_run_tags(
            run.run_id, run_tags(run.asset_selection or (), run.tags) | process_tag()
        )
        with heartbeat(heartbeats, context.run.run_id):
            for said in end_dead_runs(context.instance, heartbeats, context.run.run_id):
                (context.log or dg.get_dagster_logger()).info(said)
            yield self


STORAGE = {"storage": StorageFolder()}
"""What every component gives along, so that it works among others' definitions too; merging takes one object once."""
