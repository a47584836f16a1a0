"""``leaderboard``: every evaluation there is, published as the one database people query, and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cir_assets.pipeline.checks import PUBLISHED
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.report import published_beside
from cir_assets.pipeline.step import Plan, Step, Work
from cir_assets.retrieval.protocols import RENAMED, protocol_table
from cir_assets.store.made import Made


def leaderboard_step(pipelines: Sequence[Pipeline], set_aside: Sequence[str] = ()) -> Step:
    """The published database over all pipelines, and over what there is of data sets whose YAML is wrong.

    Of data sets that nothing is evaluated on the tables are published all the same: people ask there what is wrong
    with their pictures.
    """
    return Step("leaderboard", 5, lambda work: publication(work, pipelines, set_aside))


def publication(work: Work, pipelines: Sequence[Pipeline], set_aside: Sequence[str]) -> Plan:
    """What would be published now."""
    from cir_assets.store.publishing import content_digest, open_publication, publish

    storage = work.storage
    places = [pipeline.place for pipeline in pipelines]
    places += dict.fromkeys(brought.place for pipeline in pipelines for brought in pipeline.data.brought)
    for dataset in set_aside:
        places += places_with_results(work, dataset)
    results = [file for place in places if (file := storage.results(*place)).is_file()]
    answers = [file for place in places if (file := storage.answers(*place)).is_file()]
    added = published_beside(work)
    promotions = sorted(file for place in places if (file := storage.promotions(*place)).is_file())
    datasets = sorted({dataset for dataset, _, _ in places})
    tables = {name: storage.tables(name) for name in datasets if storage.tables(name).is_dir()}
    content = content_digest([*results, *answers, *added], tables, promotions)

    def make(_version: str) -> Made:
        from cir_assets.reporting.leaderboard import write_leaderboard
        from cir_assets.retrieval.reported_figures import figures_of_others

        figures, wrong = figures_of_others(added)
        left_out = wrong + publish(
            [*results, *answers],
            tables,
            storage.evaluation,
            promotions,
            figures,
            protocol_table(),
            RENAMED,
        )
        for said in left_out:
            work.warn(said)
        with open_publication(storage.evaluation) as connection:
            rows = connection.execute(
                "SELECT dataset, backbone, recipe, split, protocol, method, headline FROM leaderboard"
            ).fetchall()
            page = write_leaderboard(connection, storage.reports)
        return Made(
            data_version=content,
            metadata={
                "database": {"path": str(storage.evaluation)},
                "page": {"page": str(page.relative_to(storage.root))},
                "evaluations": len(rows),
                "pipelines": len(results),
                "megabytes": round(storage.evaluation.stat().st_size / 1e6, 1),
                "leaderboard": {"markdown": as_markdown(rows)},
            },
            checks=PUBLISHED(len(rows), left_out),
            files=[storage.evaluation, page],
        )

    return Plan({"content": content}, make)


def places_with_results(work: Work, dataset: str) -> list[tuple[str, str, str]]:
    """Data set, backbone and recipe of each pipeline of a data set that was evaluated, as its files tell."""
    folder = work.storage.results(dataset, "backbone", "recipe").parents[1]
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
