"""``…/<recipe>/challenger`` and ``champion``: newly trained models serve only if they are not worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cir_assets.models.stages import TEXT_ENCODER
from cir_assets.pipeline.checks import StepCheck
from cir_assets.pipeline.encoding import encode_missing, tuned_encoder
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.inputs import load_backbone, load_inputs, newest_models
from cir_assets.pipeline.queries import method_queries
from cir_assets.pipeline.step import Plan, Step, Work
from cir_assets.retrieval.methods import ZERO_SHOT
from cir_assets.retrieval.protocols import protocol_named
from cir_assets.store.digests import digest
from cir_assets.store.ledger import Ledger
from cir_assets.store.made import Check, Made, NotMade, versions_of
from cir_assets.store.promotions import Champion, Decision, PromotionLog

if TYPE_CHECKING:
    from cir_assets.retrieval.bootstrap import Difference
    from cir_assets.retrieval.evaluation import Evaluation

GENERATION = 3
CHAMPION_GENERATION = 4
FIGURES = ("challenger_headline", "champion_headline", "difference", "difference_low", "difference_high")


def challenger_step(pipeline: Pipeline) -> Step:
    """The judgement over a pipeline's newest models."""
    rule = pipeline.data.promotion

    def plan(work: Work) -> Plan:
        versions = versions_of(work.storage, pipeline.data.name("images"), *pipeline.ranked_from())
        return Plan(versions, lambda _: judge(work, pipeline))

    configuration = {
        "margin": rule.margin,
        "better_on_average": rule.better_on_average,
        "methods": list(pipeline.servable_methods),
        "protocol": protocol_named(pipeline.data.protocols[0]).identity,
    }
    return Step(pipeline.name("challenger"), GENERATION, plan, configuration)


def champion_step(pipeline: Pipeline) -> Step:
    """The models of a pipeline that serve."""
    configuration = {"on_refusal": pipeline.data.promotion.on_refusal}
    return Step(
        pipeline.name("champion"), CHAMPION_GENERATION, lambda work: reign(work, pipeline), configuration
    )


def reign(work: Work, pipeline: Pipeline) -> Plan:
    """The present champion as it would be told, whatever was decided last.

    Raises:
        NotMade: where nothing was ever promoted.
    """
    storage = work.storage
    log = PromotionLog(storage.promotions(*pipeline.place))
    champion, judged = log.reign(), Ledger(storage.ledger).latest(pipeline.name("challenger"))
    if champion is None or judged is None:
        raise NotMade(f"{pipeline.name('challenger')} never promoted anything; materialize it first")
    checked = not_worse(pipeline)(log, judged.detail["metadata"].get("challenger"))
    [outcome] = checked.values()

    def make(_version: str) -> Made:
        folders = model_folders(work, champion.models)
        listed = [f"- `{folder.relative_to(storage.root)}`" for folder in folders.values()]
        return Made(
            data_version=champion.digest,
            metadata={
                **reign_facts(log),
                "newest_decision": outcome.description,
                "models": {"markdown": "\n".join(listed)},
                "history": {"markdown": history(log.rows())},
            },
            checks=checked,
            grown=[log.file, *folders.values()],
        )

    return Plan({"models": champion.digest, "verdict": outcome.description}, make)


def reign_facts(log: PromotionLog) -> dict[str, str | float | int]:
    """Who serves, since when, why, and by what figures: the headline first, as plots stand in this order."""
    decision = log.reigns().row(-1, named=True)
    judged = log.rows().filter(challenger=decision["challenger"], decision="promoted")
    figures = judged.row(-1, named=True) if judged.height else decision
    facts = {
        "headline": figures["challenger_headline"],
        "champion": decision["challenger"],
        "champion_since": f"{decision['decided_at']:%Y-%m-%d %H:%M} UTC",
        "method": decision["method"],
        "protocol": f"{decision['protocol']} on {decision['split']}",
        "queries": figures["queries"],
        "decision": decision["decision"],
        "reason": decision["reason"],
        "headline_before": figures["champion_headline"],
    }
    if figures["difference"] is not None:
        facts["difference"] = (
            f"{figures['difference']:+.2f} (95 % {figures['difference_low']:+.2f} to {figures['difference_high']:+.2f})"
        )
    return {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in facts.items()
        if value is not None
    }


def not_worse(pipeline: Pipeline) -> StepCheck:
    """The check of a champion; a refusal fails it, or warns, as its rule says, and stops nothing else."""
    return StepCheck(
        "not_worse",
        "The newest models are the champion, or a person went back to another. A refusal leaves the champion as it "
        "was and fails this check alone; with promotion.on_refusal set to warn it warns.",
        verdict,
        warns=pipeline.data.promotion.on_refusal != "block",
    )


def verdict(log: PromotionLog, newest: str | None) -> Check:
    """What the last decision says of a pipeline's newest models, given by their digest where it was written down."""
    if (champion := log.reign()) is not None and champion.digest == newest:
        return Check(True, "the newest models are the champion")
    last = log.rows().row(-1, named=True)
    figures = {name: round(last[name], 3) for name in FIGURES if last[name] is not None}
    said = f"{last['decision']}: {last['reason']}"
    if last["decision"] != "refused":
        return Check(True, said, figures)
    return Check(
        False,
        f"{said}. {log.reigns()['challenger'][-1]} stays champion, and is what search reads; to take the challenger "
        "all the same, widen promotion.margin",
        figures,
    )


def judge(work: Work, pipeline: Pipeline) -> Made:
    """Compare a pipeline's newest models with its champion's, write the decision down, and say it."""
    from cir_assets.retrieval.choosing import choose_served
    from cir_assets.retrieval.evaluation import compare

    data = pipeline.data
    log = PromotionLog(work.storage.promotions(*pipeline.place))
    newest = newest_models(work, pipeline, pipeline.models)
    versions = {pipeline.model_name(model): folder.name for model, folder in newest.items()}
    ranked = rank_on_val(work, pipeline, versions, pipeline.servable_methods)
    choice = choose_served({method: evaluation for method, (evaluation, _) in ranked.items()})
    challenger, share = ranked[choice.method.name]
    judged = Champion(
        {pipeline.model_name(model): newest[model].name for model in choice.method.models},
        choice.method.name,
        share,
    )
    told = {"method": choice.method.name, "chosen": choice.because}
    if choice.stage_1 is not None:
        told["stage_1"] = choice.stage_1
        (work.say if choice.stage_1_helps else work.warn)(f"{pipeline.name('challenger')}: {choice.stage_1}")
    before = log.reign()
    if before == judged:
        return judgement(log, judged, "the newest models are the champion already", told, {})
    figures: dict[str, float | None] = {"challenger_headline": challenger.headline}
    if before is None:
        plain, _ = ranked[ZERO_SHOT.name]
        promoted, reason = True, first_reason(compare(challenger, plain))
    else:
        held = {before.method: before.share} if before.share is not None else {}
        [(champion, _)] = rank_on_val(work, pipeline, before.models, [before.method], held).values()
        difference = compare(challenger, champion)
        promoted, reason = data.promotion.judge(difference)
        figures |= {
            "champion_headline": champion.headline,
            "difference": difference.value,
            "difference_low": difference.low,
            "difference_high": difference.high,
        }
        if judged.digest in log.rolled_back():
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
            models=judged.models,
            champion=before.digest if before else None,
            method=judged.method,
            share=judged.share,
            split="val",
            protocol=data.protocols[0],
            text_template=protocol_named(data.protocols[0]).text.name,
            queries=challenger.queries,
            run_id=work.run_id,
            **figures,
        )
    )
    said = f"{'promoted' if promoted else 'refused'}: {reason}"
    work.say(f"{pipeline.name('challenger')} {said}; {choice.method.name} is judged: {choice.because}")
    shown = {name: round(value, 3) for name, value in figures.items() if value is not None}
    return judgement(log, judged, said, told, shown)


def first_reason(difference: Difference) -> str:
    """Why the first models of a pipeline are promoted, and how they stand against what needs none.

    Nothing serves before them that could be better, so they are always taken.

    Args:
        difference: theirs minus the zero-shot sum's, in points of the headline, paired over the same queries.
    """
    said = f"the first models of this pipeline: {difference.value:+.2f} points"
    said += f" (95 % {difference.low:+.2f} to {difference.high:+.2f}) against {ZERO_SHOT.spoken}"
    if difference.low > 0:
        return f"{said}, so they are better than CLIP as it came"
    if difference.high < 0:
        return f"{said}, so they are worse than CLIP as it came: train longer, or on more triplets"
    return f"{said}, so nothing shows that they learnt anything: train longer, or on more triplets"


def rank_on_val(
    work: Work,
    pipeline: Pipeline,
    models: Mapping[str, str],
    methods: Sequence[str],
    shares: Mapping[str, float | None] | None = None,
) -> dict[str, tuple[Evaluation, float | None]]:
    """What given versions of a pipeline's models rank on val under its first protocol, with today's data.

    A tuned image encoder's features of pictures it never saw are made and cached first.

    Args:
        work: where all lies.
        pipeline: whose queries are ranked.
        models: name -> version, those the methods need.
        methods: of the ladder.
        shares: method -> share, where it is not to be chosen.

    Returns:
        method -> its evaluation, and its share where it has one: of ``shares``, or else chosen there.
    """
    from torch.nn import functional

    from cir_assets.retrieval.evaluation import evaluate

    folders = model_folders(work, models)
    by_model = {name.rpartition("/")[2]: folder for name, folder in folders.items()}
    if pipeline.tunes_images and TEXT_ENCODER in by_model:
        encode_missing(work, pipeline.encoded, tuned_encoder(work, pipeline, by_model[TEXT_ENCODER]))
    backbone = load_backbone(work, pipeline.encoded)
    inputs = load_inputs(work, pipeline.encoded, backbone)
    protocol = pipeline.data.protocols[0]
    asked = {("val", protocol): inputs.query_groups(protocol, "val")}
    ranked = {}
    for found in method_queries(work, pipeline, backbone, inputs, asked, methods, by_model, shares):
        gallery = functional.normalize(found.inputs.features, dim=1)
        ranked[found.method] = evaluate(protocol, found.groups, found.queries, gallery), found.share
    return ranked


def model_folders(work: Work, models: Mapping[str, str]) -> dict[str, Path]:
    """The folder of each model's version.

    Args:
        work: where models lie.
        models: name, as ``wardrobe/tiny_clip/small/combiner``, -> version.

    Raises:
        FileNotFoundError: when one is gone, naming what to do.
    """
    folders = {}
    for name, version in models.items():
        dataset, backbone, recipe, model = name.split("/")
        folders[name] = work.storage.models(dataset, backbone, recipe, model) / version
        if not folders[name].is_dir():
            raise FileNotFoundError(
                f"{folders[name]} is gone, which a champion is made of: put the folder back, or go back to another "
                f"champion with: cir-assets rollback {dataset}/{backbone}/{recipe}"
            )
    return folders


def judgement(
    log: PromotionLog, judged: Champion, said: str, told: Mapping[str, str], figures: Mapping[str, float]
) -> Made:
    """A judgement over models as what the step made: the champion that follows from it, and its history."""
    rows = log.rows()
    champion = log.reign()
    assert champion is not None
    return Made(
        data_version=digest([champion.digest, judged.digest, rows.height]),
        metadata={
            "decision": said,
            **told,
            **figures,
            "challenger": judged.digest,
            "champion": champion.digest,
            "history": {"markdown": history(rows)},
        },
        checks={},
        grown=[log.file],
    )


def history(rows: pl.DataFrame) -> str:
    """Every decision as a Markdown table of few columns, newest first: a wider one is cut off where it is shown."""
    from cir_assets.reporting.ladder import markdown_text

    lines = ["| decided (UTC) | decision | headline | reason |", "|---|---|---:|---|"]
    for row in rows.reverse().iter_rows(named=True):
        headline = "" if row["challenger_headline"] is None else f"{row['challenger_headline']:.2f}"
        lines.append(
            f"| {row['decided_at']:%Y-%m-%d %H:%M} | {row['decision']} {row['challenger'][:8]} | {headline} "
            f"| {markdown_text(row['reason'])} |"
        )
    return "\n".join(lines)
