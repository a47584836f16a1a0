"""Edited definitions are loaded anew once they rest, and only where they can be loaded."""

from __future__ import annotations

import dagster as dg

from tests.trial_project import TrialProject


def test_edited_definitions_are_seen_once_they_rest_and_only_where_they_can_be_loaded(
    project: TrialProject, instance: dg.DagsterInstance
) -> None:
    project.write_dataset("shop", source={"kind": "wardrobe"})
    cursor: list[str | None] = [None]
    sensor = project.definitions().resolve_sensor_def("edited_definitions")

    def tick() -> str:
        with project.importable(), dg.build_sensor_context(instance, cursor[0]) as context:
            said = sensor.evaluate_tick(context)
        cursor[0] = said.cursor
        return str(said.skip_message)

    assert "are those that are loaded" in tick()
    project.yaml("shop").touch()
    assert "are those that are loaded" in tick()
    project.write_dataset("shop", source={"kind": "wardrobe", "size": 1001})
    assert "definitions are changing" in tick()
    # Without dagster dev there is no code server to be asked.
    assert "click Reload" in tick()
    project.write_backbones({"tiny_clip": {"kind": "nonsense"}})
    assert "definitions are changing" in tick()
    assert "cannot be loaded" in tick()
    assert "backbones/defs.yaml:4" in tick()
