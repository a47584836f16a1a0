"""Conditions are evaluated when something happened, over one state of things, and each run says why it is."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import dagster as dg
import pytest

from cir_assets.graph.conditions import on_upstream_change
from cir_assets.graph.sensors.upstream_changes import LOOKS_THROWN_AWAY, upstream_changes_sensor
from tests.trial_project import TrialProject

SENSOR = "cir_assets.graph.sensors.upstream_changes"
CONTENT = {"raw": "1", "shop/tiny_clip/small/combiner": "1"}


def assets() -> list[dg.AssetsDefinition]:
    @dg.asset
    def raw() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion(CONTENT["raw"]))

    @dg.asset(
        key=["shop", "tiny_clip", "small", "combiner"], deps=[raw], automation_condition=on_upstream_change()
    )
    def combiner() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion("1"))

    return [raw, combiner]


class Looking:
    """A daemon's looks over two assets, with the sensor of one code server."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.definitions = dg.Definitions(assets(), sensors=[upstream_changes_sensor(10)])
        self.sensor = self.definitions.resolve_sensor_def("upstream_changes")
        self.cursor: str | None = None

    def look(self) -> dg.RunRequest | str:
        """What is asked for, else what is said."""
        with dg.build_sensor_context(self.instance, self.cursor, definitions=self.definitions) as context:
            found = self.sensor.evaluate_tick(context)
        self.cursor = found.cursor
        return found.run_requests[0] if found.run_requests else str(found.skip_message)

    def materialize(self, name: str) -> None:
        job = self.definitions.resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(
            instance=self.instance, asset_selection=[dg.AssetKey(name.split("/"))]
        ).success


@pytest.fixture
def looking() -> Iterator[Looking]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Looking(instance)


def test_as_long_as_nothing_happens_nothing_is_evaluated(looking: Looking) -> None:
    looking.look()
    assert [looking.look() for _ in range(3)] == ["nothing happened since the last look"] * 3
    looking.materialize("raw")
    asked = looking.look()
    assert isinstance(asked, dg.RunRequest)
    assert [key.to_user_string() for key in asked.asset_selection or []] == ["shop/tiny_clip/small/combiner"]
    assert {name: asked.tags[name] for name in ("dataset", "recipe", "because")} == {
        "dataset": "shop",
        "recipe": "small",
        "because": "never made: shop/tiny_clip/small/combiner",
    }


def test_a_run_says_what_changed(looking: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    looking.materialize("raw")
    looking.look()
    looking.materialize("shop/tiny_clip/small/combiner")
    looking.look()
    monkeypatch.setitem(CONTENT, "raw", "2")
    looking.materialize("raw")
    asked = looking.look()
    assert isinstance(asked, dg.RunRequest)
    assert asked.tags["because"] == "changed: raw"


def test_what_was_found_while_something_happened_is_looked_for_again(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking.look()
    looking.materialize("raw")
    before = looking.cursor
    moments = iter(range(100))
    monkeypatch.setattr(f"{SENSOR}.newest_event", lambda _: (next(moments), 0.0))
    said = [looking.look() for _ in range(LOOKS_THROWN_AWAY)]
    assert said == ["something happened during this look; looking again"] * LOOKS_THROWN_AWAY
    assert looking.cursor == before
    # Where that has no end, what was found counts all the same, once.
    assert isinstance(looking.look(), dg.RunRequest)
    monkeypatch.undo()
    assert not isinstance(looking.look(), dg.RunRequest)


WARDROBE = {"kind": "wardrobe", "size": 1000}


def test_the_sensor_that_follows_changes_runs_from_the_start(project: TrialProject) -> None:
    project.write_dataset("wardrobe", source=WARDROBE)
    sensor = project.definitions().resolve_sensor_def("upstream_changes")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
