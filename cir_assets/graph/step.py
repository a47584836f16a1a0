"""From a step to its asset: the one place where Dagster is told what a step is, and what it made."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import dagster as dg

from cir_assets.engines.progress import Progress
from cir_assets.graph.belonging import Belonging, place_of
from cir_assets.graph.conditions import on_upstream_change
from cir_assets.pipeline.checks import StepCheck
from cir_assets.pipeline.step import Refused, Step, Work, run
from cir_assets.store.layout import Storage
from cir_assets.store.made import Check, Made, NotMade

ADDRESS = "CIR_ASSETS_ADDRESS"
SERVED_AT = "http://127.0.0.1:8765"
"""Where search, reports and docs are served; on another machine as the environment says."""

Outcome = dg.MaterializeResult | dg.AssetCheckResult

INCOMPLETE = "incomplete"
"""Metadata of a result that left something for another time; ``stale_sweep`` asks for it again."""


def asset_key(step: str) -> dg.AssetKey:
    """The asset of a step: ``wardrobe/images``."""
    return dg.AssetKey(step.split("/"))


def step_asset(
    step: Step,
    *,
    deps: Sequence[str] = (),
    of: Belonging,
    kinds: set[str],
    description: str,
    checks: Sequence[StepCheck] = (),
    columns: dg.TableSchema | None = None,
    pool: str | None = None,
    condition: dg.AutomationCondition | None = None,
    freshness: dg.FreshnessPolicy | None = None,
    follows: bool = True,
) -> dg.AssetsDefinition:
    """The asset of one step.

    Args:
        step: what is done.
        deps: the steps it is made from, by name.
        of: the pipeline, the data set under a backbone or the data set it belongs to, or the name of a group where
            it belongs to none: its group and owners, and what its box says first.
        kinds: shown beside its name.
        description: what people read in the UI: grain, columns, units and place.
        checks: what must hold of what it makes.
        columns: of the table it makes.
        pool: where it waits for its place.
        condition: when it is made by itself; ``on_upstream_change`` where it depends on others and follows them.
        freshness: how long it may go without being made.
        follows: False for what is made only when a person asks.
    """
    if condition is None and deps and follows:
        condition = on_upstream_change()
    belongs = place_of(of)
    by_name = {check.name: check for check in checks}

    @dg.asset(
        key=asset_key(step.name),
        deps=[asset_key(name) for name in deps],
        group_name=belongs.group,
        kinds=kinds,
        owners=list(belongs.owners),
        tags=dict(belongs.tags),
        pool=pool,
        code_version=step.code_version,
        automation_condition=condition,
        freshness_policy=freshness,
        check_specs=[
            dg.AssetCheckSpec(
                check.name,
                asset=asset_key(step.name),
                blocking=check.blocking,
                description=check.sentence,
            )
            for check in checks
        ],
        metadata={"dagster/column_schema": columns} if columns else None,
        description=belongs.said + description,
        required_resource_keys={"storage"},
    )
    def made_by_step(context: dg.AssetExecutionContext) -> Iterator[Outcome]:
        try:
            made, reused = run(step, work_of(context, context.resources.storage.storage))
        except NotMade as error:
            raise dg.Failure(str(error)) from error
        except Refused as refused:
            yield from _check_results(refused.checks, by_name)
            raise dg.Failure(str(refused), allow_retries=False) from refused
        yield _result(made, by_name, reused=reused)

    return made_by_step


def work_of(context: dg.AssetExecutionContext, storage: Storage) -> Work:
    """What a step works with inside a run: progress is a log line every few seconds, which the UI shows."""

    def report(step: Step, made: Made) -> None:
        tags = {"dagster/data_version": made.data_version, "dagster/code_version": step.code_version}
        folder = str(made.metadata["folder"]["path"])
        context.instance.report_runless_asset_event(
            dg.AssetMaterialization(asset_key(step.name), metadata={"folder": folder}, tags=tags)
        )

    return Work(
        storage,
        partial(Progress, log=context.log.info),
        context.log.info,
        context.log.warning,
        context.run.run_id,
        report,
        by_a_person(context.run.tags),
    )


def by_a_person(tags: Mapping[str, str]) -> bool:
    """Whether a person launched a run of these tags, or asked for it once more; not a sensor or a schedule."""
    by_itself = tags.keys() & {"dagster/sensor_name", "dagster/schedule_name"}
    once_more = "dagster/parent_run_id" in tags and "dagster/retry_number" not in tags
    return not by_itself or once_more


def _result(made: Made, checks: Mapping[str, StepCheck], *, reused: bool) -> dg.MaterializeResult:
    left_for_later = {} if made.complete else {INCOMPLETE: True}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(made.data_version),
        metadata={
            **{name: ui_value(value) for name, value in made.metadata.items()},
            "reused": reused,
            **left_for_later,
        },
        check_results=list(_check_results(made.checks, checks)),
    )


def _check_results(
    outcomes: Mapping[str, Check], checks: Mapping[str, StepCheck]
) -> Iterator[dg.AssetCheckResult]:
    for name, outcome in outcomes.items():
        yield dg.AssetCheckResult(
            check_name=name,
            passed=outcome.passed,
            description=outcome.description,
            metadata=dict(outcome.figures),
            severity=dg.AssetCheckSeverity.WARN if checks[name].warns else dg.AssetCheckSeverity.ERROR,
        )


def ui_value(value: Any) -> Any:
    """A JSON value as metadata: ``{"markdown": …}``, ``{"path": …}`` and ``{"page": …}`` become such values.

    A page below the storage folder is a link to the server that shows it: a browser opens no file from another page.
    """
    match value:
        case {"markdown": content, **rest} if not rest:
            return dg.MetadataValue.md(content)
        case {"path": content, **rest} if not rest:
            return dg.MetadataValue.path(content)
        case {"page": content, **rest} if not rest:
            return dg.MetadataValue.url(f"{os.environ.get(ADDRESS) or SERVED_AT}/{quote(content)}")
    return value
