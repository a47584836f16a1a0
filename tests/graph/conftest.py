"""A chain of assets whose contents a test sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pytest

from cir_assets.graph.conditions import on_upstream_change
from cir_assets.graph.sensors.stale_sweep import stale_sweep_sensor


@dataclass
class Trial:
    """A chain root -> features -> model -> report whose contents a test sets, and a daemon's ticks."""

    instance: dg.DagsterInstance
    content: dict[str, str] = field(
        default_factory=lambda: dict.fromkeys(["root", "features", "model", "report"], "1")
    )
    failing: set[str] = field(default_factory=set)
    failing_check: bool = False
    code: dict[str, str] = field(default_factory=lambda: {"model": "1"})
    cursor: Any = None

    def definitions(self) -> dg.Definitions:
        def made(name: str, upstream: str | None) -> dg.AssetsDefinition:
            @dg.asset(
                name=name,
                deps=[upstream] if upstream else [],
                code_version=self.code.get(name),
                automation_condition=on_upstream_change() if upstream else None,
                check_specs=[dg.AssetCheckSpec("sound", asset=name, blocking=True)],
            )
            def body() -> dg.MaterializeResult:
                if name in self.failing:
                    raise RuntimeError("out of memory")
                sound = not (name == "features" and self.failing_check)
                return dg.MaterializeResult(
                    data_version=dg.DataVersion(self.content[name]),
                    check_results=[dg.AssetCheckResult(check_name="sound", passed=sound)],
                )

            return body

        names = ["root", "features", "model", "report"]
        return dg.Definitions(
            assets=[made(name, upstream) for name, upstream in zip(names, [None, *names[:-1]], strict=True)],
            sensors=[stale_sweep_sensor()],
        )

    def materialize(self, *names: str) -> None:
        # As the UI, the command line and the daemon do: one run that names the assets it makes.
        self.definitions().resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in names],
            raise_on_error=False,
        )

    def tick(self) -> list[str]:
        """One evaluation of the sensor; what it asks for."""
        result = dg.evaluate_automation_conditions(self.definitions(), self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        return sorted(
            r.key.to_user_string()
            for r in result.results
            if not r.true_subset.is_empty and isinstance(r.key, dg.AssetKey)
        )

    def begin(self, name: str) -> dg.DagsterRun:
        """A run of one asset that is asked for and has not ended."""
        key = dg.AssetKey(name)
        job = self.definitions().resolve_implicit_global_asset_job_def().get_subset(asset_selection={key})
        return self.instance.create_run_for_job(job, asset_selection=frozenset({key}))

    def sweep(self) -> tuple[list[str], str]:
        """One tick of the sweep: what it asks for, and why it did or did not."""
        definitions = self.definitions()
        with dg.build_sensor_context(self.instance, definitions=definitions) as context:
            said = definitions.resolve_sensor_def("stale_sweep").evaluate_tick(context)
        if not said.run_requests:
            return [], str(said.skip_message)
        [request] = said.run_requests
        return sorted(key.to_user_string() for key in request.asset_selection or []), request.tags["because"]

    def settle(self, limit: int = 12) -> list[str]:
        """Tick and run what is asked for until nothing is; everything that ran, in order."""
        ran: list[str] = []
        for _ in range(limit):
            asked = self.tick()
            if not asked:
                return ran
            self.materialize(*asked)
            ran += asked
        raise AssertionError(f"still asking after {limit} ticks: {ran}")


@pytest.fixture
def trial() -> Iterator[Trial]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Trial(instance)
