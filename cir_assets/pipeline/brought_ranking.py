"""``<dataset>/rankings/<name>/evaluation``: what another system ranked, as a method beside those trained here."""

from __future__ import annotations

import time

import polars as pl

from cir_assets.pipeline.checks import EVALUATION_COMPLETE
from cir_assets.pipeline.evaluation import EVALUATED, rows_of
from cir_assets.pipeline.identity import BroughtRanking
from cir_assets.pipeline.step import Plan, Step, Work
from cir_assets.store.contracts import (
    DATA_ISSUES,
    GALLERIES,
    IMAGES,
    MISSING_PICTURES,
    TRAINING_EPOCHS,
    TRIPLETS,
    empty,
)
from cir_assets.store.digests import digest, digest_file, digest_frame
from cir_assets.store.made import Made, versions_of
from cir_assets.store.tables import read_table


def brought_ranking_step(brought: BroughtRanking) -> Step:
    """The evaluation of one ranking; its files' content is among what it is made from."""

    def plan(work: Work) -> Plan:
        versions = versions_of(work.storage, brought.data.name("images"), brought.data.name("triplets"))
        versions |= {
            str(path): digest_file(path) if path.is_file() else "absent" for path in brought.ranking.paths
        }
        return Plan(versions, lambda version: evaluate_brought(work, brought, version))

    configuration = {
        "protocol": brought.protocol,
        "split": brought.ranking.split,
        "label": brought.label,
    }
    return Step(brought.name("evaluation"), 1, plan, configuration)


def evaluate_brought(work: Work, brought: BroughtRanking, version: str) -> Made:
    """Read the ranking, evaluate it, and add it to its results file; a broken file leaves that as it was.

    Raises:
        BrokenRanking: naming file, place and query, and the mend.
    """
    from cir_assets.reporting.ladder import ladder_markdown
    from cir_assets.retrieval.brought_rankings import Known, brought_rankings
    from cir_assets.retrieval.evaluation import summed_up
    from cir_assets.retrieval.protocols import protocol_named, query_groups
    from cir_assets.retrieval.ranking_files import read_ranking
    from cir_assets.store.results import write_results

    started = time.perf_counter()
    tables = work.storage.tables(brought.data.dataset)
    protocol, split = protocol_named(brought.protocol), brought.ranking.split
    images = read_table(tables, IMAGES)["image"].to_list()
    groups = query_groups(
        protocol, split, images, read_table(tables, GALLERIES), read_table(tables, TRIPLETS)
    )
    ranked, *subsets = map(read_ranking, brought.ranking.paths)
    issues = pl.concat(
        [
            pl.read_parquet(file).select(DATA_ISSUES.names)
            for file in sorted((tables / "data_issues").glob("*.parquet"))
        ]
    )
    known = Known(
        images,
        set(read_table(tables, MISSING_PICTURES)["image"]),
        set(issues.filter(kind="triplet_without_picture")["subject"]),
    )
    groups, rankings = brought_rankings(protocol, groups, ranked, known, *subsets)
    outcome = summed_up(protocol, groups, rankings)
    dataset, backbone, recipe = brought.place
    frames = rows_of(
        outcome,
        groups,
        images,
        {
            "evaluation_id": digest([version, *brought.place, split, protocol.name]),
            "dataset": dataset,
            "backbone": backbone,
            "recipe": recipe,
            "models_from": f"the file {ranked.file.name}",
            "method": brought.method,
            "split": split,
            "run_id": work.run_id,
            "data_version": version,
            "seconds": time.perf_counter() - started,
            "label": brought.label,
        },
    )
    results = work.storage.results(*brought.place)
    write_results(results, {**frames, "training_epochs": empty(TRAINING_EPOCHS)})
    return Made(
        data_version=digest([digest_frame(frames[table]) for table in EVALUATED if table != "evaluations"]),
        metadata={
            f"{split}_{brought.method}_headline": round(outcome.headline, 3),
            "queries": outcome.queries,
            "gallery_size": outcome.gallery_size,
            "ladder": {"markdown": ladder_markdown(frames["evaluations"], frames["metrics"])},
            "database": {"path": str(results)},
        },
        checks=EVALUATION_COMPLETE(frames["evaluations"], 1),
        files=[results],
    )
