"""``…/<recipe>/challenger`` and ``champion``: newly trained models serve only if they are not worse."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from cir_assets.assets.inputs import installed_backbone, load_inputs, newest_models
from cir_assets.assets.ladder import method_queries
from cir_assets.assets.pipeline import Pipeline, names
from cir_assets.assets.step import Made, Step, content_versions, make_or_reuse
from cir_assets.automation import on_upstream_change
from cir_assets.checks import Check
from cir_assets.resources import Storage
from cir_assets.store.promotions import COLUMNS, Decision, PromotionLog, models_digest

if TYPE_CHECKING:
    from cir_assets.retrieval.evaluation import Evaluation

GENERATION = 1
STALE_AFTER = timedelta(days=90)
"""A champion that was not confirmed or replaced for so long fails its freshness policy; it warns after a third."""


def challenger_asset(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The judgement over a pipeline's newest models."""
    graph, rule = pipeline.graph, pipeline.graph.promotion
    step = Step(
        pipeline.key("challenger"),
        GENERATION,
        {
            "margin": rule.margin,
            "better_on_average": rule.better_on_average,
            "method": pipeline.served_method,
            "protocol": graph.protocols[0],
        },
    )

    @dg.asset(
        key=step.key,
        deps=pipeline.ranked_from(),
        group_name=graph.dataset,
        kinds={"torch", "parquet"},
        owners=list(graph.owners),
        code_version=step.code_version,
        automation_condition=on_upstream_change(),
        check_specs=[
            dg.AssetCheckSpec(
                "not_worse",
                asset=step.key,
                blocking=True,
                description=(
                    "The newest models are the champion, or may take its place. Set promotion.on_refusal to warn, "
                    "and a refusal fails no run."
                ),
            )
        ],
        metadata={
            "dagster/column_schema": dg.TableSchema(
                columns=[
                    dg.TableColumn(name, kind.lower(), description=said)
                    for name, (kind, said) in COLUMNS.items()
                ]
            )
        },
        description=(
            f"The newest models of `{'/'.join(pipeline.models_place)}` against the champion's: "
            f"`{pipeline.served_method}` of both ranks the same val queries under `{graph.protocols[0]}`, and a paired "
            "bootstrap says by how much "
            f"they differ. Promoted if the lower bound is above {-rule.margin:+g} points of the headline"
            f"{' and the difference above 0' if rule.better_on_average else ''}. Each decision is a row of "
            f"`promotions` and of `storage/champions/{'/'.join(pipeline.place)}.parquet`."
        ),
    )
    def challenger(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        versions = content_versions(storage, graph.name("images"), *names(pipeline.ranked_from()))
        return make_or_reuse(
            context,
            storage,
            step,
            versions,
            lambda _: judge(context, storage, pipeline),
            severity={
                "not_worse": dg.AssetCheckSeverity.ERROR
                if rule.on_refusal == "block"
                else dg.AssetCheckSeverity.WARN
            },
        )

    return challenger


def champion_asset(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The models of a pipeline that serve."""
    graph = pipeline.graph
    step = Step(pipeline.key("champion"), GENERATION)

    @dg.asset(
        key=step.key,
        deps=[pipeline.key("challenger")],
        group_name=graph.dataset,
        kinds={"safetensors"},
        owners=list(graph.owners),
        code_version=step.code_version,
        automation_condition=on_upstream_change(),
        freshness_policy=dg.FreshnessPolicy.time_window(STALE_AFTER, warn_window=STALE_AFTER / 3),
        description=(
            "The models that search and serving read: those promoted last, or gone back to with `cir-assets rollback "
            f"{'/'.join(pipeline.place)}`. Their versions stay on disk for good, with the newest "
            f"{graph.promotion.keep_versions} of each model."
        ),
    )
    def champion(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        log = PromotionLog(storage.promotions(*pipeline.place))
        models = log.champion()
        if models is None:
            raise dg.Failure(f"{pipeline.name('challenger')} never promoted anything; materialize it first")

        def make(_version: str) -> Made:
            folders = model_folders(storage, models)
            reign = log.reigns().row(-1, named=True)
            return Made(
                data_version=models_digest(models),
                metadata={
                    "champion_since": f"{reign['decided_at']:%Y-%m-%d %H:%M} UTC",
                    "decision": reign["decision"],
                    "reason": reign["reason"],
                    "models": {"markdown": "\n".join(f"- `{folder}`" for folder in folders.values())},
                    "history": {"markdown": history(log.rows())},
                },
                checks={},
                files=[log.file, *folders.values()],
            )

        return make_or_reuse(context, storage, step, {"models": models_digest(models)}, make)

    return champion


def judge(context: dg.AssetExecutionContext, storage: Storage, pipeline: Pipeline) -> Made:
    """Compare a pipeline's newest models with its champion's, write the decision down, and say it."""
    from cir_assets.retrieval.evaluation import compare

    graph = pipeline.graph
    log = PromotionLog(storage.promotions(*pipeline.place))
    newest = newest_models(storage, pipeline, pipeline.served_models)
    models = {pipeline.model_name(model): folder.name for model, folder in newest.items()}
    before = log.champion()
    if before == models:
        return told(log, Check(True, "the newest models are the champion already"))
    challenger = ranked_on_val(context, storage, pipeline, models)
    figures: dict[str, float | None] = {"challenger_headline": challenger.headline}
    if before is None:
        promoted, reason = True, "the first models of this pipeline"
    else:
        champion = ranked_on_val(context, storage, pipeline, before)
        difference = compare(challenger, champion)
        promoted, reason = graph.promotion.judge(difference)
        figures |= {
            "champion_headline": champion.headline,
            "difference": difference.value,
            "difference_low": difference.low,
            "difference_high": difference.high,
        }
        if models_digest(models) in log.rolled_back():
            promoted, reason = False, "a person rolled these very models back; train anew to be judged again"
    dataset, backbone, recipe = pipeline.place
    log.add(
        Decision(
            dataset=dataset,
            backbone=backbone,
            recipe=recipe,
            decided_at=datetime.now(UTC).replace(tzinfo=None),
            decision="promoted" if promoted else "refused",
            reason=reason,
            models=models,
            champion=models_digest(before) if before else None,
            method=pipeline.served_method,
            split="val",
            protocol=graph.protocols[0],
            queries=challenger.queries,
            run_id=context.run.run_id,
            **figures,
        )
    )
    said = f"{'promoted' if promoted else 'refused'}: {reason}"
    context.log.info(f"{pipeline.name('challenger')} {said}")
    shown = {name: round(value, 3) for name, value in figures.items() if value is not None}
    return told(log, Check(promoted, said, shown))


def ranked_on_val(
    context: dg.AssetExecutionContext, storage: Storage, pipeline: Pipeline, models: Mapping[str, str]
) -> "Evaluation":
    """What given versions of a pipeline's models rank on val under its first protocol, with today's data.

    A tuned image encoder's features of pictures it never saw are made and cached first.
    """
    from torch.nn import functional

    from cir_assets.assets.image_features import encode_missing, tuned_encoder
    from cir_assets.retrieval.evaluation import evaluate

    folders = model_folders(storage, models)
    by_model = {name.rpartition("/")[2]: folder for name, folder in folders.items()}
    if pipeline.tunes_images:
        encode_missing(
            context, storage, pipeline.encoded, tuned_encoder(storage, pipeline, by_model["text_encoder"])
        )
    backbone = installed_backbone(storage, pipeline.encoded)
    inputs = load_inputs(storage, pipeline.encoded, backbone)
    protocol = pipeline.graph.protocols[0]
    asked = {("val", protocol): inputs.query_groups(protocol, "val")}
    [found] = method_queries(storage, pipeline, backbone, inputs, asked, [pipeline.served_method], by_model)
    return evaluate(protocol, found.groups, found.queries, functional.normalize(found.inputs.features, dim=1))


def model_folders(storage: Storage, models: Mapping[str, str]) -> dict[str, Path]:
    """The folder of each model's version.

    Args:
        storage: where models lie.
        models: name, as ``wardrobe/tiny_clip/small/combiner``, -> version.

    Raises:
        FileNotFoundError: when one is gone, naming what to do.
    """
    folders = {}
    for name, version in models.items():
        dataset, backbone, recipe, model = name.split("/")
        folders[name] = storage.models(dataset, backbone, recipe, model) / version
        if not folders[name].is_dir():
            raise FileNotFoundError(
                f"{folders[name]} is gone, which a champion is made of: put the folder back, or go back to another "
                f"champion with: cir-assets rollback {dataset}/{backbone}/{recipe}"
            )
    return folders


def told(log: PromotionLog, check: Check) -> Made:
    """A judgement as what the step made: the champion that follows from it, and its history."""
    rows = log.rows()
    champion = log.champion()
    assert champion is not None
    return Made(
        data_version=models_digest({**champion, "decisions": str(rows.height)}),
        metadata={
            "decision": check.description,
            **check.figures,
            "champion": models_digest(champion),
            "history": {"markdown": history(rows)},
        },
        checks={"not_worse": check},
        files=[log.file],
    )


def history(rows: pl.DataFrame, shown: int = 10) -> str:
    """The newest decisions as a Markdown table, newest first."""
    lines = [
        "| decided (UTC) | decision | models | headline | difference | reason |",
        "|---|---|---|---:|---:|---|",
    ]
    for row in rows.tail(shown).reverse().iter_rows(named=True):
        headline = "" if row["challenger_headline"] is None else f"{row['challenger_headline']:.2f}"
        difference = "" if row["difference"] is None else f"{row['difference']:+.2f}"
        lines.append(
            f"| {row['decided_at']:%Y-%m-%d %H:%M} | {row['decision']} | {row['challenger'][:8]} | {headline} "
            f"| {difference} | {row['reason']} |"
        )
    return "\n".join(lines)
