"""A change that lands while what depends on it is being made is not lost, whenever it lands."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import dagster as dg

from cir_assets.graph.conditions import on_upstream_change

CHAIN = ("root", "features", "report")
MOMENTS = tuple(product(CHAIN[1:], ("before it reads", "after it read")))
PAIRS = 24

Landing = tuple[tuple[str, str], bool, bool]
"""A moment of a run at which the root changes, and whether the daemon looks right before that and right after."""


class Chain:
    """root -> features -> report; each is made of what it depends on *at that moment*, as real steps are."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor: Any = None
        self.asked: list[list[str]] = []
        self.content = dict.fromkeys(CHAIN, 0)
        self.meanwhile: dict[tuple[str, str], Callable[[], None]] = {}
        self.definitions = dg.Definitions(
            assets=[
                self._asset(name, upstream) for name, upstream in zip(CHAIN, (None, *CHAIN), strict=False)
            ]
        )
        self.job = self.definitions.resolve_implicit_global_asset_job_def()

    def _asset(self, name: str, upstream: str | None) -> dg.AssetsDefinition:
        @dg.asset(
            name=name,
            deps=[upstream] if upstream else [],
            automation_condition=on_upstream_change() if upstream else None,
        )
        def made() -> dg.MaterializeResult:
            self._happens(name, "before it reads")
            if upstream:
                self.content[name] = self.content[upstream]
            self._happens(name, "after it read")
            return dg.MaterializeResult(data_version=dg.DataVersion(str(self.content[name])))

        return made

    def _happens(self, name: str, when: str) -> None:
        self.meanwhile.pop((name, when), lambda: None)()

    def change(self) -> None:
        """The root says something new, as when a schedule refreshes it."""
        self.content["root"] += 1
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization("root", tags={"dagster/data_version": str(self.content["root"])})
        )

    def materialize(self, *names: str) -> None:
        self.job.execute_in_process(
            instance=self.instance, asset_selection=[dg.AssetKey(name) for name in names]
        )

    def tick(self) -> None:
        """The daemon looks; the run it asks for waits until the present one is done."""
        result = dg.evaluate_automation_conditions(self.definitions, self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        asked = [r.key for r in result.results if not r.true_subset.is_empty]
        if asked:
            self.asked.append([key.to_user_string() for key in asked if isinstance(key, dg.AssetKey)])

    def settle(self) -> None:
        """Tick and run until nothing is asked for."""
        for _ in range(20):
            self.tick()
            if not self.asked:
                return
            while self.asked:
                self.materialize(*self.asked.pop(0))
        raise AssertionError("it never comes to rest")


def trials() -> Iterator[list[Landing]]:
    """Every landing by itself, then pairs of them at random."""
    each = list(product(MOMENTS, (False, True), (False, True)))
    yield from ([landing] for landing in each)
    chance = random.Random(7)
    for _ in range(PAIRS):
        yield [(moment, chance.random() < 0.4, chance.random() < 0.4) for moment in chance.sample(MOMENTS, 2)]


def test_a_change_at_any_moment_of_the_run_below_it_reaches_the_end(instance: dg.DagsterInstance) -> None:
    chain = Chain(instance)
    chain.tick()
    lost = []
    changes = 0
    for landings in trials():
        for moment, ticks_before, ticks_after in landings:

            def meanwhile(before: bool = ticks_before, after: bool = ticks_after) -> None:
                if before:
                    chain.tick()
                chain.change()
                if after:
                    chain.tick()

            chain.meanwhile[moment] = meanwhile
        chain.change()
        changes += 1 + len(landings)
        chain.settle()
        if set(chain.content.values()) != {chain.content["root"]}:
            lost.append((landings, dict(chain.content)))
    assert lost == []
    assert chain.content["root"] == changes == 2 * 16 + 3 * PAIRS
