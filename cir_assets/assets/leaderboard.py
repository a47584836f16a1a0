"""``leaderboard``: every evaluation there is, published as the one database people query."""

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

from cir_assets.assets.pipeline import Pipeline
from cir_assets.assets.step import Made, Step, make_or_reuse
from cir_assets.automation import on_upstream_change
from cir_assets.checks import Check
from cir_assets.resources import Storage

GENERATION = 3
STALE_AFTER = timedelta(days=90)
"""A leaderboard that nothing new reached for so long fails its freshness policy; it warns after a third."""


def leaderboard_asset(pipelines: Sequence[Pipeline]) -> dg.AssetsDefinition:
    """The published database over all pipelines."""
    step = Step(dg.AssetKey("leaderboard"), GENERATION)

    @dg.asset(
        key=step.key,
        deps=[
            *(pipeline.key(step) for pipeline in pipelines for step in ("evaluation", "challenger")),
            *dict.fromkeys(pipeline.graph.key("triplets") for pipeline in pipelines),
        ],
        group_name="leaderboard",
        kinds={"duckdb"},
        owners=["team:retrieval"],
        code_version=step.code_version,
        automation_condition=on_upstream_change(waits=False),
        freshness_policy=dg.FreshnessPolicy.time_window(STALE_AFTER, warn_window=STALE_AFTER / 3),
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

        results = [
            storage.results(*pipeline.place)
            for pipeline in pipelines
            if storage.results(*pipeline.place).is_file()
        ]
        promotions = sorted(
            storage.promotions(*pipeline.place)
            for pipeline in pipelines
            if storage.promotions(*pipeline.place).is_file()
        )
        datasets = sorted({pipeline.graph.dataset for pipeline in pipelines})
        tables = {name: storage.tables(name) for name in datasets if storage.tables(name).is_dir()}
        content = content_digest(results, tables, promotions)

        def make(_version: str) -> Made:
            publish(results, tables, storage.evaluation, promotions)
            with opened(storage.evaluation, read_only=True) as connection:
                rows = connection.execute(
                    "SELECT dataset, backbone, recipe, split, protocol, method, headline FROM leaderboard"
                ).fetchall()
                page = write_leaderboard(connection, storage.reports)
            best = [
                "| data set | backbone | recipe | split | protocol | method | headline |",
                "|---|---|---|---|---|---|---:|",
                *("| " + " | ".join(map(str, row[:-1])) + f" | {row[-1]:.2f} |" for row in rows),
            ]
            return Made(
                data_version=content,
                metadata={
                    "database": {"path": str(storage.evaluation)},
                    "page": {"url": page.as_uri()},
                    "evaluations": len(rows),
                    "pipelines": len(results),
                    "megabytes": round(storage.evaluation.stat().st_size / 1e6, 1),
                    "leaderboard": {"markdown": "\n".join(best)},
                },
                checks={"published": Check(len(rows) > 0, f"{len(rows)} evaluations are published")},
                files=[storage.evaluation, page],
            )

        return make_or_reuse(context, storage, step, {"content": content}, make)

    return leaderboard
