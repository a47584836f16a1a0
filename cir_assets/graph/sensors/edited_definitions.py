"""``edited_definitions``: has the definitions loaded anew when a YAML file below ``defs/`` changed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from cir_assets.graph.private import reloading

REST_SECONDS = 5.0
"""An editor, or a checkout of many files, is done with a file that is so old."""


def edited_definitions_sensor(
    project: Path, loaded: str, every_seconds: int, problem_now: Callable[[], str | None]
) -> dg.SensorDefinition:
    """Watches the YAML files below ``defs/`` and has the definitions loaded anew when their content changed.

    Args:
        project: the project's folder.
        loaded: ``state_of_definitions`` of what is loaded now.
        every_seconds: between two looks; files that changed just before one must be the same in the next.
        problem_now: loads what is on disk now, and says what is wrong with it; None where nothing is.
    """

    @dg.sensor(
        name="edited_definitions",
        minimum_interval_seconds=every_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Loads the definitions anew when a YAML file below defs/ changed in content and has been at rest for "
            f"{REST_SECONDS:g} seconds, as a click on Reload does. What cannot be loaded is left until it is mended."
        ),
    )
    def edited_definitions(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        now = state_of_definitions(project)
        if now == loaded:
            return dg.SkipReason("the definitions on disk are those that are loaded")
        if context.cursor == f"asked {now}":
            return dg.SkipReason("definitions changed on disk, and were not loaded anew when asked: restart")
        if context.cursor != now and not at_rest(project):
            context.update_cursor(now)
            return dg.SkipReason(f"definitions are changing; waiting until they rest for {REST_SECONDS:g} s")
        if problem := problem_now():
            return dg.SkipReason(
                "definitions changed on disk but cannot be loaded; those from before go on until this is mended: "
                f"{problem}"
            )
        reload = reloading(context)
        if reload is None:
            return dg.SkipReason("definitions changed on disk: click Reload under Deployment, or restart")
        context.update_cursor(f"asked {now}")
        reload()
        return dg.SkipReason("definitions changed on disk and are loaded anew")

    return edited_definitions


def at_rest(project: Path) -> bool:
    """Whether no YAML file below a project's ``defs/``, and no folder of one, changed in the last few seconds."""
    place = dg.ComponentTree.for_project(project).defs_module_path
    for each in [place, *place.rglob("*")]:
        try:
            if (
                each.is_dir() or each.suffix == ".yaml"
            ) and time.time() - each.stat().st_mtime < REST_SECONDS:
                return False
        except OSError:
            return False
    return True


def state_of_definitions(project: Path) -> str:
    """Digest of the names and bytes of every YAML file below a project's ``defs/``."""
    place = dg.ComponentTree.for_project(project).defs_module_path
    state = hashlib.sha256()
    for file in sorted(place.rglob("*.yaml")):
        try:
            content = file.read_bytes()
        except OSError:
            # It went while this looked.
            continue
        state.update(f"{file.relative_to(place)}\0{len(content)}\0".encode() + content)
    return state.hexdigest()[:16]
