"""``…/<recipe>/challenger`` and ``champion``: newly trained models serve only if they are not worse."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from cir_assets.assets.inputs import installed_backbone, load_inputs, newest_models
from cir_assets.assets.ladder import method_queries
from cir_assets.assets.pipeline import Pipeline, names
from cir_assets.assets.step import Made, Step, check_result, content_versions, make_or_reuse
from cir_assets.assets.tables import column_schema
from cir_assets.automation import on_upstream_change
from cir_assets.checks import Check
from cir_assets.freshness import freshness_policy
from cir_assets.models.stages import TEXT_ENCODER
from cir_assets.resources import Storage
from cir_assets.store.contracts import PROMOTIONS
from cir_assets.store.ledger import Ledger, digest
from cir_assets.store.promotions import Decision, PromotionLog, models_digest

if TYPE_CHECKING:
    from cir_assets.retrieval.evaluation import Evaluation

GENERATION = 2
FIGURES = ("challenger_headline", "champion_headline", "difference", "difference_low", "difference_high")


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
        metadata={"dagster/column_schema": column_schema(PROMOTIONS)},
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
        return make_or_reuse(context, storage, step, versions, lambda _: judge(context, storage, pipeline))

    return challenger


def champion_asset(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The models of a pipeline that serve."""
    graph, rule = pipeline.graph, pipeline.graph.promotion
    step = Step(pipeline.key("champion"), GENERATION, {"on_refusal": rule.on_refusal})
    severity = dg.AssetCheckSeverity.ERROR if rule.on_refusal == "block" else dg.AssetCheckSeverity.WARN

    @dg.asset(
        key=step.key,
        deps=[pipeline.key("challenger")],
        group_name=graph.dataset,
        kinds={"safetensors"},
        owners=list(graph.owners),
        code_version=step.code_version,
        automation_condition=on_upstream_change(),
        freshness_policy=freshness_policy([rule]),
        check_specs=[
            dg.AssetCheckSpec(
                "not_worse",
                asset=step.key,
                blocking=True,
                description=(
                    "The newest models are the champion, or a person went back to another. A refusal fails this step "
                    "and leaves the champion as it was; with promotion.on_refusal set to warn it is only told."
                ),
            )
        ],
        description=(
            "The models that search and serving read: those promoted last, or gone back to with `cir-assets rollback "
            f"{'/'.join(pipeline.place)}`. Their versions stay on disk for good, with the newest "
            f"{rule.keep_versions} of each model."
        ),
    )
    def champion(
        context: dg.AssetExecutionContext, storage: Storage
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        log = PromotionLog(storage.promotions(*pipeline.place))
        models, judged = log.champion(), Ledger(storage.ledger).latest(pipeline.name("challenger"))
        if models is None or judged is None:
            raise dg.Failure(f"{pipeline.name('challenger')} never promoted anything; materialize it first")
        not_worse = verdict(log, judged.detail["metadata"].get("challenger"))
        if not not_worse.passed and rule.on_refusal == "block":
            yield check_result("not_worse", not_worse, severity)
            raise dg.Failure(
                f"{not_worse.description}. {models_digest(models)} stays champion, and is what search reads; to take "
                "the challenger all the same, widen promotion.margin. With promotion.on_refusal: warn a refusal "
                "fails nothing",
                allow_retries=False,
            )

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
                checks={"not_worse": not_worse},
                files=[log.file, *folders.values()],
            )

        inputs = {"models": models_digest(models), "verdict": not_worse.description}
        yield make_or_reuse(context, storage, step, inputs, make, severity={"not_worse": severity})

    return champion


def verdict(log: PromotionLog, newest: str | None) -> Check:
    """What the last decision says of a pipeline's newest models, given by their digest where it was written down."""
    if (champion := log.champion()) is not None and models_digest(champion) == newest:
        return Check(True, "the newest models are the champion")
    last = log.rows().row(-1, named=True)
    figures = {name: round(last[name], 3) for name in FIGURES if last[name] is not None}
    return Check(last["decision"] != "refused", f"{last['decision']}: {last['reason']}", figures)


def judge(context: dg.AssetExecutionContext, storage: Storage, pipeline: Pipeline) -> Made:
    """Compare a pipeline's newest models with its champion's, write the decision down, and say it."""
    from cir_assets.retrieval.evaluation import compare

    graph = pipeline.graph
    log = PromotionLog(storage.promotions(*pipeline.place))
    newest = newest_models(storage, pipeline, pipeline.served_models)
    models = {pipeline.model_name(model): folder.name for model, folder in newest.items()}
    before = log.champion()
    if before == models:
        return told(log, models, "the newest models are the champion already", {})
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
    return told(log, models, said, shown)


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
            context, storage, pipeline.encoded, tuned_encoder(storage, pipeline, by_model[TEXT_ENCODER])
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


def told(log: PromotionLog, models: Mapping[str, str], said: str, figures: Mapping[str, float]) -> Made:
    """A judgement over models as what the step made: the champion that follows from it, and its history."""
    rows = log.rows()
    champion = log.champion()
    assert champion is not None
    return Made(
        data_version=digest([models_digest(champion), models_digest(models), rows.height]),
        metadata={
            "decision": said,
            **figures,
            "challenger": models_digest(models),
            "champion": models_digest(champion),
            "history": {"markdown": history(rows)},
        },
        checks={},
        files=[log.file],
    )


def history(rows: pl.DataFrame, shown: int = 10) -> str:
    """The newest decisions as a Markdown table, newest first."""
    from cir_assets.reporting.ladder import markdown_text

    lines = [
        "| decided (UTC) | decision | models | headline | difference | reason |",
        "|---|---|---|---:|---:|---|",
    ]
    for row in rows.tail(shown).reverse().iter_rows(named=True):
        headline = "" if row["challenger_headline"] is None else f"{row['challenger_headline']:.2f}"
        difference = "" if row["difference"] is None else f"{row['difference']:+.2f}"
        lines.append(
            f"| {row['decided_at']:%Y-%m-%d %H:%M} | {row['decision']} | {row['challenger'][:8]} | {headline} "
            f"| {difference} | {markdown_text(row['reason'])} |"
        )
    return "\n".join(lines)
