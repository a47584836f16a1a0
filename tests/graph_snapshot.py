"""The whole graph as Dagster is told it, as sorted text: what moves in the code leaves every line of it alone.

``python -m tests.graph_snapshot`` writes ``graph_snapshot.json``; ``test_graph_snapshot.py`` holds the project to it.
Severities of checks are not in it: each is decided when its check has run.
"""

from __future__ import annotations

import ast
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg

from cir_assets.definitions import build_definitions

SNAPSHOT = Path(__file__).with_suffix(".json")
COMMAND = "python -m tests.graph_snapshot"


def snapshot() -> str:
    """The graph of this project, as the text that is committed."""
    # Whom the webhook tells stands in its sensors' descriptions, and is each machine's own.
    elsewhere = {name: value for name, value in os.environ.items() if not name.startswith("CIR_ASSETS_")}
    with (
        tempfile.TemporaryDirectory() as storage,
        mock.patch.dict(os.environ, {**elsewhere, "DAGSTER_HOME": storage}, clear=True),
    ):
        told = described(build_definitions())
    return json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def described(definitions: dg.Definitions) -> dict[str, Any]:
    """Every asset, condition, job, sensor, schedule and resource, as JSON values.

    A condition many assets share is written once, under the first asset that has it.
    """
    graph, repository = definitions.resolve_asset_graph(), definitions.get_repository_def()
    nodes = [graph.get(key) for key in sorted(graph.get_all_asset_keys())]
    conditions: dict[Any, str] = {}
    for node in nodes:
        conditions.setdefault(node.automation_condition, node.key.to_user_string())

    def target(job: str) -> list[str]:
        return key_names(repository.get_job(job).asset_layer.executable_asset_keys)

    return {
        "assets": {
            node.key.to_user_string(): {
                "description": node.description,
                "deps": key_names(node.parent_keys),
                "group": node.group_name,
                "kinds": sorted(node.kinds),
                "owners": sorted(node.owners),
                "pools": sorted(node.pools or ()),
                # Kinds once more, under longer names.
                "tags": {tag: v for tag, v in node.tags.items() if not tag.startswith("dagster/kind/")},
                "code_version": node.code_version,
                "condition": node.automation_condition and f"as {conditions[node.automation_condition]}",
                "freshness_policy": node.freshness_policy and record_lines(node.freshness_policy),
                "columns": columns(node.metadata),
                "checks": {
                    key.name: {"blocking": graph.get(key).blocking, "description": graph.get(key).description}
                    for key in node.check_keys
                },
            }
            for node in nodes
        },
        "conditions": {
            first: record_lines(condition) for condition, first in conditions.items() if condition
        },
        "jobs": {
            job.name: {
                "description": job.description,
                "executor": job.executor_def.name,
                "tags": dict(job.tags),
                "target": target(job.name),
            }
            for job in repository.get_all_jobs()
            if not job.name.startswith("__")
        },
        "sensors": {
            sensor.name: {
                "kind": sensor.sensor_type.value,
                "description": sensor.description,
                "default_state": sensor.default_status.value,
                "every_seconds": sensor.minimum_interval_seconds,
                "target": key_names(sensor.asset_selection.resolve(graph))
                if sensor.asset_selection
                else [key for each in sensor.targets for key in target(each.job_name)],
            }
            for sensor in repository.sensor_defs
        },
        "schedules": {
            schedule.name: {
                "description": schedule.description,
                "default_state": schedule.default_status.value,
                "cron": schedule.cron_schedule,
                "timezone": schedule.execution_timezone,
                "target": target(schedule.job_name),
            }
            for schedule in repository.schedule_defs
        },
        "resources": sorted(definitions.resources or ()),
    }


def key_names(keys: Iterable[dg.AssetKey]) -> list[str]:
    """Keys as paths, sorted."""
    return sorted(key.to_user_string() for key in keys)


def columns(metadata: Mapping[str, Any]) -> list[str] | None:
    """A table's columns in their order, each as ``name type: description``; None of what is no table."""
    schema = metadata.get("dagster/column_schema")
    return schema and [f"{column.name} {column.type}: {column.description}" for column in schema.columns]


def record_lines(record: object) -> list[str]:
    """One of Dagster's records with all that is set in it and in those within, a line each, read off its ``repr``."""
    return list(_lines(ast.parse(repr(record), mode="eval").body, ""))


def _lines(record: ast.expr, before: str) -> Iterator[str]:
    """``before`` stands before the record's name: indentation, and the field it is the value of."""
    assert isinstance(record, ast.Call), f"no record: {ast.unparse(record)}"
    values, within = [ast.unparse(value) for value in record.args], list[tuple[str, ast.expr]]()
    for field in record.keywords:
        if isinstance(field.value, ast.List):
            within += [("", element) for element in field.value.elts]
        elif isinstance(field.value, ast.Call):
            within.append((f"{field.arg}: ", field.value))
        elif ast.literal_eval(field.value) is not None:
            values.append(f"{field.arg}={ast.unparse(field.value)}")
    yield f"{before}{ast.unparse(record.func)}({', '.join(values)})"
    indented = " " * (len(before) - len(before.lstrip()) + 2)
    for field_name, value in within:
        yield from _lines(value, indented + field_name)


if __name__ == "__main__":
    SNAPSHOT.write_text(snapshot(), encoding="utf-8")
