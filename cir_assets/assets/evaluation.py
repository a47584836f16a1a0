"""``…/<recipe>/evaluation``: the ladder of six methods, under every protocol, on val and test."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from cir_assets.assets.inputs import PipelineInputs, installed_backbone, load_inputs, model_folder
from cir_assets.assets.pipeline import Pipeline
from cir_assets.assets.step import Made, Step, content_versions, logged_progress, make_or_reuse
from cir_assets.automation import on_upstream_change
from cir_assets.checks import LADDER, evaluation_complete, ladder_in_order
from cir_assets.progress import ProgressFactory
from cir_assets.resources import Storage
from cir_assets.store.ledger import digest, digest_frame

if TYPE_CHECKING:
    from torch import Tensor

    from cir_assets.models.backbone import Backbone

GENERATION = 1
TRAINED = ("text_encoder", "combiner_frozen_clip", "combiner")


def evaluation_asset(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The evaluation of one pipeline."""
    graph, encoded = pipeline.graph, pipeline.encoded
    step = Step(pipeline.key("evaluation"), GENERATION, {"protocols": list(graph.protocols)})

    @dg.asset(
        key=step.key,
        deps=[
            graph.key("triplets"),
            encoded.key("image_features"),
            *(pipeline.key(name) for name in TRAINED),
        ],
        group_name=graph.dataset,
        kinds={"torch", "duckdb"},
        owners=list(graph.owners),
        code_version=step.code_version,
        automation_condition=on_upstream_change(),
        check_specs=[
            dg.AssetCheckSpec(
                "evaluation_complete",
                asset=step.key,
                blocking=True,
                description="Every method was evaluated under every protocol on every split with targets.",
            ),
            dg.AssetCheckSpec(
                "ladder_in_order",
                asset=step.key,
                description="On val neither the tuned sum nor the Combiner is below the zero-shot sum.",
            ),
        ],
        description=(
            "Image only, text only, their sum, the sum with the tuned text encoder, the Combiner on frozen CLIP "
            "and the Combiner on the tuned text encoder: recalls in percent with 95 % bootstrap intervals, every "
            "query's target rank and its 50 best pictures, on val and test under "
            f"{', '.join(graph.protocols)}. Tables `evaluations`, `metrics`, `rankings` and `retrieved` of "
            f"`storage/results/{'/'.join(pipeline.place)}.duckdb`."
        ),
    )
    def evaluation(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        versions = content_versions(
            storage,
            graph.name("images"),
            graph.name("triplets"),
            encoded.name("image_features"),
            *(pipeline.name(name) for name in TRAINED),
        )

        def make(version: str) -> Made:
            return evaluate_ladder(storage, pipeline, version, context.run.run_id, logged_progress(context))

        return make_or_reuse(
            context, storage, step, versions, make, severity={"ladder_in_order": dg.AssetCheckSeverity.WARN}
        )

    return evaluation


def evaluate_ladder(
    storage: Storage, pipeline: Pipeline, version: str, run_id: str, progress: ProgressFactory
) -> Made:
    """Evaluate all six methods and add them to the pipeline's results file."""
    from cir_assets.reporting.ladder import ladder_markdown
    from cir_assets.store.results import write_results

    backbone = installed_backbone(storage, pipeline.encoded)
    inputs = load_inputs(storage, pipeline.encoded, backbone)
    protocols, splits = pipeline.graph.protocols, inputs.splits_with_targets()
    expected = len(LADDER) * len(protocols) * len(splits)
    made: dict[str, list[pl.DataFrame]] = {t: [] for t in ("evaluations", "metrics", "rankings", "retrieved")}
    with progress("evaluate", expected, "evaluations") as shown:
        for queries in method_queries(storage, pipeline, backbone, inputs, splits):
            for protocol in protocols:
                frames = evaluate_method(pipeline, inputs, queries, protocol, version, run_id)
                for table, frame in frames.items():
                    made[table].append(frame)
                shown.advance(1, f"{queries.method} on {queries.split} under {protocol}")
    tables = {table: pl.concat(frames) for table, frames in made.items()}
    results = storage.results(*pipeline.place)
    write_results(results, {**tables, "training_epochs": training_epochs(storage, pipeline)})
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
            "queries": max(tables["evaluations"]["queries"].to_list()),
            "gallery_size": max(tables["evaluations"]["gallery_size"].to_list()),
            "ladder": {"markdown": ladder_markdown(tables["evaluations"], tables["metrics"])},
            "database": {"path": str(results)},
        },
        checks={
            "evaluation_complete": evaluation_complete(tables["evaluations"], expected),
            "ladder_in_order": ladder_in_order({method: headlines[splits[0], method] for method in LADDER}),
        },
        files=[results],
    )


@dataclass(frozen=True)
class MethodQueries:
    """One method's query features on one split: a tensor (Q, D) of unit length a protocol."""

    method: str
    split: str
    features: dict[str, "Tensor"]
    text_weight: dict[str, "Tensor | None"]


def method_queries(
    storage: Storage,
    pipeline: Pipeline,
    backbone: "Backbone",
    inputs: PipelineInputs,
    splits: list[str],
) -> Iterator[MethodQueries]:
    """Every method's queries on every split; each encoder reads every caption once."""
    import torch
    from torch.nn import functional

    from cir_assets.models.saving import load_combiner, load_text_encoder

    groups = {
        (split, protocol): inputs.query_groups(protocol, split)
        for split in splits
        for protocol in pipeline.graph.protocols
    }
    captions = {key: [c for group in found for c in group.captions] for key, found in groups.items()}
    every = list(dict.fromkeys(caption for said in captions.values() for caption in said))
    place = {caption: row for row, caption in enumerate(every)}
    untuned = backbone.text_features(every)
    load_text_encoder(model_folder(storage, pipeline, "text_encoder"), backbone)
    tuned = backbone.text_features(every)
    combiners = {
        name: load_combiner(model_folder(storage, pipeline, name), backbone.feature_dimension)
        .to(backbone.device)
        .eval()
        for name in ("combiner_frozen_clip", "combiner")
    }

    def queries(method: str, split: str) -> MethodQueries:
        features: dict[str, Tensor] = {}
        weights: dict[str, Tensor | None] = {}
        for protocol in pipeline.graph.protocols:
            key = (split, protocol)
            rows = torch.tensor(
                [int(r) for group in groups[key] for r in group.reference], device=backbone.device
            )
            image = inputs.features[rows]
            said = [place[caption] for caption in captions[key]]
            text = (untuned if method in ("text_only", "sum", "combiner_frozen_clip") else tuned)[said]
            weights[protocol] = None
            if method == "image_only":
                features[protocol] = functional.normalize(image, dim=1)
            elif method == "text_only":
                features[protocol] = functional.normalize(text, dim=1)
            elif method in ("sum", "text_encoder_sum"):
                features[protocol] = functional.normalize(image + text, dim=1)
            else:
                with torch.no_grad():
                    features[protocol], weights[protocol] = combiners[method].combine(image, text)
        return MethodQueries(method, split, features, weights)

    for method in LADDER:
        for split in splits:
            yield queries(method, split)


def evaluate_method(
    pipeline: Pipeline,
    inputs: PipelineInputs,
    queries: MethodQueries,
    protocol: str,
    version: str,
    run_id: str,
) -> dict[str, pl.DataFrame]:
    """One method on one split under one protocol, as rows of the published tables."""
    from torch.nn import functional

    from cir_assets.retrieval.evaluation import evaluate

    started = time.perf_counter()
    unit_features = functional.normalize(inputs.features, dim=1)
    groups = inputs.query_groups(protocol, queries.split)
    found = evaluate(protocol, groups, queries.features[protocol], unit_features)
    identity = digest([version, queries.method, queries.split, protocol])
    images = (
        inputs.feature_images.select("image").with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    )
    weight = queries.text_weight[protocol]
    dataset, backbone, recipe = pipeline.place
    rankings = (
        found.rankings.with_columns(
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
    retrieved = found.retrieved.with_columns(evaluation_id=pl.lit(identity), rank=pl.col("rank") + 1).join(
        images.rename({"row": "image_row"}), on="image_row", maintain_order="left"
    )
    evaluation = pl.DataFrame(
        {
            "evaluation_id": [identity],
            "dataset": [dataset],
            "backbone": [backbone],
            "recipe": [recipe],
            "method": [queries.method],
            "split": [queries.split],
            "protocol": [protocol],
            "queries": [found.queries],
            "gallery_size": [found.gallery_size],
            "created_at": [datetime.now(UTC).replace(tzinfo=None)],
            "run_id": [run_id],
            "data_version": [version],
            "seconds": [time.perf_counter() - started],
        }
    )
    return {
        "evaluations": evaluation,
        "metrics": found.metrics.with_columns(evaluation_id=pl.lit(identity)),
        "rankings": rankings.drop("reference_row", "target_row"),
        "retrieved": retrieved.select("evaluation_id", "query_id", "rank", "image", "score"),
    }


def training_epochs(storage: Storage, pipeline: Pipeline) -> pl.DataFrame:
    """The curves of the models that were evaluated."""
    dataset, backbone, recipe = pipeline.place
    curves = []
    for name in TRAINED:
        folder = model_folder(storage, pipeline, name)
        curves.append(
            pl.read_parquet(folder / "epochs.parquet").with_columns(
                dataset=pl.lit(dataset),
                backbone=pl.lit(backbone),
                recipe=pl.lit(recipe),
                version=pl.lit(folder.name),
            )
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
