"""``…/<recipe>/evaluation``: the ladder of methods, under every protocol, on val and test."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from cir_assets.models.settings import ReferenceCheckpoints
from cir_assets.pipeline.checks import EVALUATION_COMPLETE, ladder_check
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.inputs import load_backbone, load_inputs, model_folder
from cir_assets.pipeline.queries import MethodQueries, method_queries
from cir_assets.pipeline.report import SHEET_TITLE, report_inputs
from cir_assets.pipeline.step import Plan, Step, Work
from cir_assets.store.contracts import LEFT_OUT, RESULTS, TRAINING_EPOCHS
from cir_assets.store.digests import digest, digest_frame
from cir_assets.store.made import Made, versions_of
from cir_assets.training.settings import Recipe

if TYPE_CHECKING:
    from cir_assets.retrieval.evaluation import Evaluation

GENERATION = 4
CURVES = TRAINING_EPOCHS.schema
EVALUATED = tuple(table.name for table in RESULTS if table is not TRAINING_EPOCHS)


def evaluation_step(pipeline: Pipeline) -> Step:
    """The evaluation of one pipeline."""

    def plan(work: Work) -> Plan:
        versions = versions_of(work.storage, pipeline.data.name("images"), *pipeline.ranked_from())
        return Plan(versions, lambda version: evaluate_ladder(work, pipeline, version))

    configuration = {
        "protocols": list(pipeline.data.protocols),
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
        for queries in method_queries(work, pipeline, backbone, inputs, groups_by_split, pipeline.methods):
            outcome, frames = evaluate_method(pipeline, queries, version, work.run_id)
            for table, frame in frames.items():
                made[table].append(frame)
            if (queries.split, queries.protocol) == ("val", protocols[0]):
                on_val[queries.method] = outcome
            shown.advance(1, f"{queries.method} on {queries.split} under {queries.protocol}")
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
        metadata={
            **{f"{split}_{method}_headline": round(value, 3) for (split, method), value in headlines.items()},
            **parts_of_headline(tables, protocols[0], served_method),
            **told,
            "queries": max(tables["evaluations"]["queries"].to_list()),
            "gallery_size": max(tables["evaluations"]["gallery_size"].to_list()),
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


def evaluate_method(
    pipeline: Pipeline, asked: MethodQueries, version: str, run_id: str
) -> tuple[Evaluation, dict[str, pl.DataFrame]]:
    """One method on one split under one protocol, also as rows of the published tables."""
    from torch.nn import functional

    from cir_assets.retrieval.evaluation import evaluate
    from cir_assets.retrieval.metrics import MEAN_CATEGORY

    started = time.perf_counter()
    inputs = asked.inputs
    unit_features = functional.normalize(inputs.features, dim=1)
    outcome = evaluate(asked.protocol, asked.groups, asked.queries, unit_features)
    identity = digest([version, *pipeline.place, asked.method, asked.split, asked.protocol])
    images = (
        inputs.feature_images.select("image").with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    )
    weight = asked.text_weight
    dataset, backbone, recipe = pipeline.place
    rankings = (
        outcome.rankings.with_columns(
            evaluation_id=pl.lit(identity),
            target_rank=pl.col("target_rank") + 1,
            subset_rank=pl.col("subset_rank") + 1,
            text_weight=pl.lit(None, pl.Float32)
            if weight is None
            else pl.Series(weight.flatten().cpu().numpy()),
        )
        .join(
            images.rename({"row": "reference_row", "image": "reference"}),
            on="reference_row",
            maintain_order="left",
        )
        .join(images.rename({"row": "target_row", "image": "target"}), on="target_row", maintain_order="left")
    )
    retrieved = outcome.retrieved.with_columns(evaluation_id=pl.lit(identity), rank=pl.col("rank") + 1).join(
        images.rename({"row": "image_row"}), on="image_row", maintain_order="left"
    )
    evaluation = pl.DataFrame(
        {
            "evaluation_id": [identity],
            "dataset": [dataset],
            "backbone": [backbone],
            "recipe": [recipe],
            "models_from": [
                "published checkpoints"
                if isinstance(pipeline.recipe, ReferenceCheckpoints)
                else "/".join(pipeline.models_place)
            ],
            "method": [asked.method],
            "split": [asked.split],
            "protocol": [asked.protocol],
            "queries": [outcome.queries],
            "gallery_size": [outcome.gallery_size],
            "created_at": [datetime.now(UTC).replace(tzinfo=None)],
            "run_id": [run_id],
            "data_version": [version],
            "seconds": [time.perf_counter() - started],
            "share": pl.Series([asked.share], dtype=pl.Float64),
            "served_because": pl.Series([None], dtype=pl.String),
        }
    )
    left_out = pl.DataFrame(
        [
            (identity, group.category, reason, count)
            for group in asked.groups
            for reason, count in group.left_out.items()
        ],
        schema=LEFT_OUT.schema,
        orient="row",
    )
    return outcome, {
        "evaluations": evaluation,
        "left_out": left_out,
        "metrics": outcome.metrics.with_columns(evaluation_id=pl.lit(identity)).join(
            pl.DataFrame(
                [
                    *((group.category, len(group), len(group.gallery)) for group in asked.groups),
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


def training_epochs(work: Work, pipeline: Pipeline) -> pl.DataFrame:
    """The curves of the models that were evaluated, where they were trained here."""
    dataset, backbone, recipe = pipeline.place
    curves = [pl.DataFrame(schema=CURVES)]
    # Models of an older version have no such column.
    no_settings = pl.DataFrame(schema={"settings": pl.String})
    for name in pipeline.models if isinstance(pipeline.recipe, Recipe) else ():
        folder = model_folder(work, pipeline, name)
        curves.append(
            pl.concat([no_settings, pl.read_parquet(folder / "epochs.parquet")], how="diagonal")
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
