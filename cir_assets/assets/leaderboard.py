"""``leaderboard``: every evaluation there is, published as the one database people query."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from cir_assets.assets.pipeline import DatasetGraph, Pipeline
from cir_assets.assets.step import Made, Step, make_or_reuse
from cir_assets.automation import on_upstream_change
from cir_assets.checks import Check
from cir_assets.freshness import freshness_policy
from cir_assets.resources import Storage

GENERATION = 4


def leaderboard_asset(
    pipelines: Sequence[Pipeline], set_aside: Sequence[str] = (), untrained: Sequence[DatasetGraph] = ()
) -> dg.AssetsDefinition:
    """The published database over all pipelines, and over what there is of data sets whose YAML is wrong.

    Of untrained data sets, which nothing is evaluated on, their tables are published all the same: people ask there
    what is wrong with their pictures.

    It is as patient as the most patient champion: the longest of their freshness windows is its own.
    """
    step = Step(dg.AssetKey("leaderboard"), GENERATION)

    @dg.asset(
        key=step.key,
        deps=[
            *(pipeline.key(step) for pipeline in pipelines for step in ("evaluation", "challenger")),
            *dict.fromkeys(
                graph.key("triplets") for graph in (*(pipeline.graph for pipeline in pipelines), *untrained)
            ),
        ],
        group_name="leaderboard",
        kinds={"duckdb"},
        owners=["team:retrieval"],
        code_version=step.code_version,
        automation_condition=on_upstream_change(waits=False),
        freshness_policy=freshness_policy(pipeline.graph.promotion for pipeline in pipelines),
        check_specs=[
            dg.AssetCheckSpec(
                "published", asset=step.key, description="At least one evaluation is published."
            )
        ],
        description=(
            "Every evaluation there is, with metrics, rankings, retrieved pictures, training curves, the data "
            "sets' tables, decisions about champions and published figures, as `storage/evaluation.duckdb`: views "
            "`leaderboard` and `against_published`. Replaced whole, so a client may hold it open. It waits for no "
            "missing evaluation. Column comments are in the database itself. As a page: `storage/reports/index.html`."
        ),
    )
    def leaderboard(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        from cir_assets.reporting.leaderboard import write_leaderboard
        from cir_assets.store.database import opened
        from cir_assets.store.publishing import content_digest, publish

        places = [pipeline.place for pipeline in pipelines]
        for dataset in set_aside:
            places += places_with_results(storage, dataset)
        results = [file for place in places if (file := storage.results(*place)).is_file()]
        promotions = sorted(file for place in places if (file := storage.promotions(*place)).is_file())
        datasets = sorted({*(dataset for dataset, _, _ in places), *(graph.dataset for graph in untrained)})
        tables = {name: storage.tables(name) for name in datasets if storage.tables(name).is_dir()}
        content = content_digest(results, tables, promotions)

        def make(_version: str) -> Made:
            publish(results, tables, storage.evaluation, promotions)
            with opened(storage.evaluation, read_only=True) as connection:
                rows = connection.execute(
                    "SELECT dataset, backbone, recipe, split, protocol, method, headline FROM leaderboard"
                ).fetchall()
                page = write_leaderboard(connection, storage.reports)
            return Made(
                data_version=content,
                metadata={
                    "database": {"path": str(storage.evaluation)},
                    "page": {"url": page.as_uri()},
                    "evaluations": len(rows),
                    "pipelines": len(results),
                    "megabytes": round(storage.evaluation.stat().st_size / 1e6, 1),
                    "leaderboard": {"markdown": as_markdown(rows)},
                },
                checks={"published": Check(len(rows) > 0, f"{len(rows)} evaluations are published")},
                files=[storage.evaluation, page],
            )

        return make_or_reuse(context, storage, step, {"content": content}, make)

    return leaderboard


def places_with_results(storage: Storage, dataset: str) -> list[tuple[str, str, str]]:
    """Data set, backbone and recipe of each pipeline of a data set that was evaluated, as its files tell."""
    folder = storage.results(dataset, "backbone", "recipe").parents[1]
    return sorted((dataset, file.parent.name, file.stem) for file in folder.glob("*/*.duckdb"))


def as_markdown(rows: Sequence[tuple[Any, ...]]) -> str:
    """Rows of the leaderboard as a Markdown table, every name as text; a dash where there is no headline.

    Args:
        rows: data set, backbone, recipe, split, protocol, method, headline in percent or None.
    """
    from cir_assets.reporting.ladder import markdown_text

    lines = [
        "| data set | backbone | recipe | split | protocol | method | headline |",
        "|---|---|---|---|---|---|---:|",
    ]
    for *names, headline in rows:
        figure = "–" if headline is None else f"{headline:.2f}"
        lines.append("| " + " | ".join([*(markdown_text(str(name)) for name in names), figure]) + " |")
    return "\n".join(lines)
