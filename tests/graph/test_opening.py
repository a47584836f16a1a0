"""A sensor's instance is opened once a process, and each folder has its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from cir_assets.graph.opening import opened_instance


def look(folder: Path) -> dg.DagsterInstance:
    """The instance a daemon's tick sees: it is told where that lies, and is not given it."""
    with dg.SensorEvaluationContext(InstanceRef.from_dir(str(folder)), None, None, None, None) as context:
        return opened_instance(context)


def test_every_look_at_a_folder_sees_the_instance_opened_first(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    with look(one) as first:
        assert look(one) is first
    # A copy, as making Dagster's databases takes longer than all the rest.
    shutil.copytree(one, two)
    with look(two) as other:
        assert (first.root_directory, other.root_directory) == (str(one), str(two))


def test_an_instance_in_memory_is_taken_as_it_is(instance: dg.DagsterInstance) -> None:
    with dg.build_sensor_context(instance) as context:
        assert opened_instance(context) is instance
