"""``…/<recipe>/evaluation``: the ladder of methods, under every protocol, on val and test."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

import polars as pl

from cir_assets.models.settings import ReferenceCheckpoints
from cir_assets.pipeline.checks import EVALUATION_COMPLETE, ladder_check
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.inputs import load_backbone, load_inputs, model_folder
from cir_assets.pipeline.queries import MethodQueries, method_queries
from cir_assets.pipeline.report import SHEET_TITLE, report_inputs
from cir_assets.pipeline.step import Plan, Step, Work
from cir_assets.retrieval.protocols import protocol_named
from cir_assets.store.contracts import EPOCHS, EVALUATIONS, LEFT_OUT, RESULTS, TRAINING_EPOCHS, frame
from cir_assets.store.digests import digest, digest_frame
from cir_assets.store.made import Made, versions_of
from cir_assets.store.tables import read_table
from cir_assets.training.settings import Recipe

if TYPE_CHECKING:
    from cir_assets.retrieval.evaluation import Evaluation
    from cir_assets.retrieval.protocols import QueryGroup

GENERATION = 4
CURVES = TRAINING_EPOCHS.schema
EVALUATED = tuple(table.name for table in RESULTS if table is not TRAINING_EPOCHS)


def evaluation_step(pipeline: Pipeline) -> Step:
    """The evaluation of one pipeline."""

    def plan(work: Work) -> Plan:
        versions = versions_of(work.storage, pipeline.data.name("images"), *pipeline.ranked_from())
        return Plan(versions, lambda version: evaluate_ladder(work, pipeline, version))

    configuration = {
        "protocols": [protocol_named(name).identity for name in pipeline.data.protocols],
        "models": [pipeline.model_name(model) for model in pipeline.models],
        "methods": list(pipeline.methods),
    }
    return Step(pipeline.name("evaluation"), GENERATION, plan, configuration)


def evaluate_ladder(work: Work, pipeline: Pipeline, version: str) -> Made:
    """Evaluate every method and add them to the pipeline's results file."""
    from cir_assets.reporting.curves import curves_markdown
    from cir_assets.reporting.ladder import ladder_markdown
    from cir_assets.reporting.pictures import as_markdown, draw_contact_sheet
    from cir_assets.retrieval.choosing import choose_served
    from cir_assets.store.results import write_results

    backbone = load_backbone(work, pipeline.encoded)
    inputs = load_inputs(work, pipeline.encoded, backbone)
    protocols, splits = pipeline.data.protocols, inputs.splits_with_targets()
    groups_by_split = {
        (split, protocol): inputs.query_groups(protocol, split) for split in splits for protocol in protocols
    }
    expected = len(pipeline.methods) * len(groups_by_split)
    made: dict[str, list[pl.DataFrame]] = {table: [] for table in EVALUATED}
    on_val: dict[str, Evaluation] = {}
    with work.progress("evaluate", expected, "evaluations") as shown:
        every = method_queries(work, pipeline, backbone, inputs, groups_by_split, pipeline.methods)
        for _, under_each in groupby(every, lambda queries: (queries.method, queries.split)):
            for together in asking_the_same(under_each):
                for queries, outcome, frames in evaluate_method(pipeline, together, version, work.run_id):
                    for table, frame in frames.items():
                        made[table].append(frame)
                    if (queries.split, queries.protocol) == ("val", protocols[0]):
                        on_val[queries.method] = outcome
                said = ", ".join(queries.protocol for queries in together)
                shown.advance(len(together), f"{together[0].method} on {together[0].split} under {said}")
    tables = {table: pl.concat(frames) for table, frames in made.items()}
    chosen = choose_served(on_val) if on_val else None
    served_method = chosen.method.name if chosen else pipeline.served_method
    because = chosen.because if chosen else "there is no val to choose on"
    told = {"served_method": served_method, "served_because": because}
    if chosen is not None and chosen.stage_1 is not None:
        because += f"; {chosen.stage_1}"
        told["stage_1"] = chosen.stage_1
        (work.say if chosen.stage_1_helps else work.warn)(f"{pipeline.name('evaluation')}: {chosen.stage_1}")
    tables["evaluations"] = tables["evaluations"].with_columns(
        served_because=pl.when(method=served_method).then(pl.lit(because)).otherwise(None)
    )
    results = work.storage.results(*pipeline.place)
    epochs = training_epochs(work, pipeline)
    write_results(results, {**tables, "training_epochs": epochs})
    sheet = draw_contact_sheet(report_inputs(work, pipeline, {**tables, "training_epochs": epochs}))
    headlines = headlines_of(tables, protocols[0])
    return Made(
        data_version=digest(
            [
                digest_frame(tables["metrics"]),
                digest_frame(tables["rankings"].select("evaluation_id", "query_id", "target_rank")),
            ]
        ),
        # Numbers are plotted by name, so the one that decides is named to stand first; what never moves is no number.
        metadata={
            "headline": round(headlines[splits[0], served_method], 3),
            **{f"{split}_{method}_headline": round(value, 3) for (split, method), value in headlines.items()},
            **parts_of_headline(tables, protocols[0], served_method),
            **told,
            "against_chance": against_chance(tables, protocols[0]),
            "judged_by": (
                f"{max(tables['evaluations']['queries'].to_list()):,} queries over galleries of "
                f"{max(tables['evaluations']['gallery_size'].to_list()):,} pictures"
            ),
            "ladder": {"markdown": ladder_markdown(tables["evaluations"], tables["metrics"])},
            "sheet": {"markdown": as_markdown(sheet, SHEET_TITLE)},
            "curves": {"markdown": curves_markdown(epochs)},
            "database": {"path": str(results)},
        },
        checks=EVALUATION_COMPLETE(tables["evaluations"], expected)
        | ladder_check(pipeline.methods)(
            {method: headlines[splits[0], method] for method in pipeline.methods}
        ),
        files=[results],
    )


def asking_the_same(every: Iterable[MethodQueries]) -> list[list[MethodQueries]]:
    """One method's queries on one split under each protocol, those together that one pass can rank."""
    from cir_assets.retrieval.evaluation import same_queries

    together: list[list[MethodQueries]] = []
    for queries in every:
        for others in together:
            if queries.queries is others[0].queries and all(
                same_queries(queries.groups, other.groups) for other in others
            ):
                others.append(queries)
                break
        else:
            together.append([queries])
    return together


def evaluate_method(
    pipeline: Pipeline, together: Sequence[MethodQueries], version: str, run_id: str
) -> Iterator[tuple[MethodQueries, Evaluation, dict[str, pl.DataFrame]]]:
    """One method on one split under each of some protocols, also as rows of the published tables.

    Args:
        pipeline: whose method it is.
        together: what ``asking_the_same`` put together.
        version: fingerprint of what it is made from.
        run_id: of the run it is made in.
    """
    from torch.nn import functional

    from cir_assets.retrieval.evaluation import evaluate_each

    started = time.perf_counter()
    unit_features = functional.normalize(together[0].inputs.features, dim=1)
    groups = {asked.protocol: asked.groups for asked in together}
    outcomes = evaluate_each(groups, together[0].queries, unit_features)
    seconds = (time.perf_counter() - started) / len(together)
    for asked, outcome in zip(together, outcomes, strict=True):
        yield asked, outcome, evaluation_frames(pipeline, asked, outcome, version, run_id, seconds)


def evaluation_frames(
    pipeline: Pipeline, asked: MethodQueries, outcome: Evaluation, version: str, run_id: str, seconds: float
) -> dict[str, pl.DataFrame]:
    """One evaluation of a pipeline as rows of the published tables."""
    inputs, weight = asked.inputs, asked.text_weight
    dataset, backbone, recipe = pipeline.place
    return rows_of(
        outcome,
        asked.groups,
        inputs.feature_images["image"].to_list(),
        {
            "evaluation_id": digest([version, *pipeline.place, asked.method, asked.split, asked.protocol]),
            "dataset": dataset,
            "backbone": backbone,
            "recipe": recipe,
            "models_from": models_from(pipeline),
            "method": asked.method,
            "split": asked.split,
            "run_id": run_id,
            "data_version": version,
            "seconds": seconds,
            "share": asked.share,
        },
        None if weight is None else weight.flatten().tolist(),
    )


def rows_of(
    outcome: Evaluation,
    groups: Sequence[QueryGroup],
    images: Sequence[str],
    told: Mapping[str, Any],
    text_weight: Sequence[float] | None = None,
) -> dict[str, pl.DataFrame]:
    """An evaluation as rows of the published tables.

    Args:
        outcome: what was ranked.
        groups: the queries.
        images: name of each row that the groups and the outcome speak of.
        told: columns of ``evaluations`` that do not follow from the outcome.
        text_weight: the Combiner's lambda of each query; None where none is learnt.

    Returns:
        Table -> frame, of ``EVALUATED``.
    """
    from cir_assets.retrieval.metrics import MEAN_CATEGORY

    identity = told["evaluation_id"]
    names = pl.DataFrame({"image": images}, schema={"image": pl.String}).with_row_index("row")
    names = names.with_columns(pl.col("row").cast(pl.Int64))
    rankings = (
        outcome.rankings.with_columns(
            evaluation_id=pl.lit(identity),
            target_rank=pl.col("target_rank") + 1,
            subset_rank=pl.col("subset_rank") + 1,
            text_weight=pl.lit(None, pl.Float32)
            if text_weight is None
            else pl.Series(text_weight, dtype=pl.Float32),
            target_score=pl.col("target_score").fill_nan(None),
        )
        .join(
            names.rename({"row": "reference_row", "image": "reference"}),
            on="reference_row",
            maintain_order="left",
        )
        .join(names.rename({"row": "target_row", "image": "target"}), on="target_row", maintain_order="left")
    )
    retrieved = outcome.retrieved.with_columns(
        evaluation_id=pl.lit(identity), rank=pl.col("rank") + 1, score=pl.col("score").fill_nan(None)
    ).join(names.rename({"row": "image_row"}), on="image_row", maintain_order="left")
    evaluation = frame(
        EVALUATIONS,
        [
            {
                **told,
                "protocol": outcome.protocol.name,
                "text_template": outcome.protocol.text.name,
                "queries": outcome.queries,
                "gallery_size": outcome.gallery_size,
                "created_at": datetime.now(UTC).replace(tzinfo=None),
            }
        ],
    )
    left_out = pl.DataFrame(
        [
            (identity, group.category, reason, count)
            for group in groups
            for reason, count in group.left_out.items()
        ],
        schema=LEFT_OUT.schema,
        orient="row",
    )
    return {
        "evaluations": evaluation,
        "left_out": left_out,
        "metrics": outcome.metrics.with_columns(evaluation_id=pl.lit(identity)).join(
            pl.DataFrame(
                [
                    *((group.category, len(group), len(group.gallery)) for group in groups),
                    (MEAN_CATEGORY, outcome.queries, outcome.gallery_size),
                ],
                schema={"category": pl.String, "queries": pl.Int32, "gallery_size": pl.Int32},
                orient="row",
            ),
            on="category",
            maintain_order="left",
        ),
        "rankings": rankings.drop("reference_row", "target_row"),
        "retrieved": retrieved.select("evaluation_id", "query_id", "rank", "image", "score"),
    }


def models_from(pipeline: Pipeline) -> str:
    """Where a pipeline's models come from, as the table of evaluations tells it."""
    if isinstance(pipeline.recipe, ReferenceCheckpoints):
        return "published checkpoints"
    return "/".join(pipeline.models_place)


def training_epochs(work: Work, pipeline: Pipeline) -> pl.DataFrame:
    """The curves of the models that were evaluated, where they were trained here."""
    dataset, backbone, recipe = pipeline.place
    curves = [pl.DataFrame(schema=CURVES)]
    # Models of an older version have no such column.
    no_settings = pl.DataFrame(schema={"settings": pl.String})
    for name in pipeline.models if isinstance(pipeline.recipe, Recipe) else ():
        folder = model_folder(work, pipeline, name)
        curves.append(
            pl.concat([no_settings, read_table(folder, EPOCHS)], how="diagonal")
            .with_columns(
                dataset=pl.lit(dataset),
                backbone=pl.lit(backbone),
                recipe=pl.lit(recipe),
                version=pl.lit(folder.name),
            )
            .select(CURVES.names())
            .cast(CURVES)
        )
    return pl.concat(curves)


def headlines_of(tables: dict[str, pl.DataFrame], protocol: str) -> dict[tuple[str, str], float]:
    """(split, method) -> headline in percent under one protocol."""
    rows = (
        tables["metrics"]
        .filter(pl.col("metric") == "headline")
        .join(tables["evaluations"].filter(pl.col("protocol") == protocol), on="evaluation_id")
    )
    return {
        (split, method): value for split, method, value in rows.select("split", "method", "value").iter_rows()
    }


def against_chance(tables: dict[str, pl.DataFrame], protocol: str) -> str:
    """Whether anything was learnt, in words: split by split, the headline a random ranking gets and who is above it."""
    from cir_assets.reporting.ladder import HEADLINE, ladders

    own = [each for each in ladders(tables["evaluations"], tables["metrics"]) if each.protocol == protocol]
    above = "A ranking drawn at random gets {:.1f} % on {}, and some method lies above it."
    return " ".join(
        ladder.nothing_learnt or above.format(ladder.chance(HEADLINE), ladder.split) for ladder in own
    )


def parts_of_headline(tables: dict[str, pl.DataFrame], protocol: str, method: str) -> dict[str, float]:
    """The metrics one method's headline is the mean of, in percent, named for the UI, which plots them over time.

    Returns:
        As ``{"val_combiner_recall_at_10": 41.2}``; what was not measured is left out.
    """
    from cir_assets.reporting.ladder import ladders

    return {
        f"{ladder.split}_{method}_{metric}_at_{k}": round(value, 3)
        for ladder in ladders(tables["evaluations"], tables["metrics"])
        if ladder.protocol == protocol
        for metric, k in ladder.main_metrics
        if k and (value := ladder.figure(method, (metric, k)).value) is not None
    }
