"""A model's card: ``README.md`` as the Hub reads it, with what the model is, its figures, and how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from huggingface_hub import EvalResult, ModelCardData

from cir_assets.models.stages import COMBINER, COMBINER_FROZEN_CLIP, TEXT_ENCODER
from cir_assets.reporting.ladder import Ladder, ladder_markdown, ladders, metric_label
from cir_assets.retrieval.methods import METHODS
from cir_assets.retrieval.metrics import MEAN_CATEGORY
from cir_assets.retrieval.reported_figures import reported_figures

PAPER = (
    "Alberto Baldrati, Marco Bertini, Tiberio Uricchio, Alberto Del Bimbo: *Conditioned and composed image retrieval "
    "combining and partially fine-tuning CLIP-based features*, CVPR Workshops 2022, pages 4959–4968"
)
MEANINGS = {
    TEXT_ENCODER: "CLIP's text encoder, tuned so that a picture's feature plus a relative caption's lies near the "
    "feature of the picture meant (stage 1)",
    COMBINER: "the Combiner: it merges a reference picture's feature and a relative caption's, read by the tuned text "
    "encoder, into the feature of the picture meant (stage 2)",
    COMBINER_FROZEN_CLIP: "the Combiner over CLIP as it came: stage 2 without stage 1",
}
"""Model -> what it is, within a sentence."""


@dataclass(frozen=True)
class Subject:
    """What a card is about.

    Attributes:
        title: its heading.
        meaning: what it is, within a sentence.
        dataset: what it was trained on; its figures are of the data set they were taken on.
        backbone: name of the dual encoder.
        base: where the backbone comes from: a repository of the Hub, or words.
        methods: methods of the ladder it makes possible.
        made: how it was made: name -> setting.
        loading: Python that loads it.
        library: whose ``from_pretrained`` reads it.
        embedded: backbone and data set are those that come with the package, whose licence holds for all.
    """

    title: str
    meaning: str
    dataset: str
    backbone: str
    base: str
    methods: Sequence[str]
    made: Mapping[str, Any]
    loading: str
    library: str
    embedded: bool


def model_card(subject: Subject, evaluations: pl.DataFrame, metrics: pl.DataFrame) -> str:
    """The text of a card.

    Args:
        subject: what it is about.
        evaluations: table ``evaluations`` of its pipeline; may be empty.
        metrics: table ``metrics``.
    """
    own = evaluations.filter(pl.col("method").is_in(list(subject.methods)))
    found = ladders(own, metrics) if own.height else []
    licence = "mit" if subject.embedded else "other"
    about = ModelCardData(
        license=licence,
        license_name=None if subject.embedded else "as-its-backbone-and-data-set",
        library_name=subject.library,
        pipeline_tag="image-feature-extraction",
        tags=["composed-image-retrieval", "clip", subject.dataset],
        base_model=subject.base if "/" in subject.base and " " not in subject.base else None,
        datasets=None if subject.embedded else [subject.dataset],
        model_name=subject.title,
        eval_results=[result for ladder in found for result in _results(ladder, subject)] or None,
        ignore_metadata_errors=True,
    )
    made = "\n".join(f"| {name} | {value} |" for name, value in _flat(subject.made))
    parts = [
        f"---\n{about.to_yaml()}\n---",
        f"# {subject.title}",
        f"This is {subject.meaning}. It was trained on `{subject.dataset}` over the backbone `{subject.backbone}` "
        f"({subject.base}).",
        f"Method: {PAPER}.",
        f"## How to load it\n\n```python\n{subject.loading}\n```",
        "## Figures\n\nIn percent, with 95 % bootstrap intervals over queries; the best of each column is bold.\n\n"
        + (ladder_markdown(own, metrics) if found else "It was not evaluated yet."),
        *_reported(found, subject.dataset),
        f"## How it was made\n\n| setting | value |\n|---|---|\n{made}" if made else "",
        "## Licence\n\n"
        + (
            "MIT, as the package, its embedded backbone and its data set."
            if subject.embedded
            else f"That of its backbone ({subject.base}) and of the pictures and captions of `{subject.dataset}`: see "
            "there before you pass it on."
        ),
        "## Limits\n\n"
        f"- Features are of this backbone alone: those of another do not fit, even of the same size.\n"
        f"- The figures are of `{subject.dataset}`; other pictures, other words and other languages were not tried.\n"
        "- Protocols differ: compare figures only where data set, split and protocol are equal.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _results(ladder: Ladder, subject: Subject) -> list[EvalResult]:
    method = max(ladder.methods, key=lambda each: METHODS[each].precedence)
    return [
        EvalResult(
            task_type="image-to-image",
            task_name="composed image retrieval",
            dataset_type=subject.dataset,
            dataset_name=f"{subject.dataset}, {ladder.protocol} protocol",
            dataset_split=ladder.split,
            metric_type=f"{name}_at_{k}" if k else name,
            metric_name=f"{metric_label((name, k))}, {METHODS[method].label}",
            metric_value=round(value, 2),
        )
        for name, k in ladder.main_metrics
        if (value := ladder.figure(method, (name, k)).value) is not None
    ]


def _reported(found: Sequence[Ladder], dataset: str) -> list[str]:
    """What others reported where data set, split and protocol are equal."""
    parts = []
    for ladder in found:
        theirs = reported_figures().filter(
            dataset=dataset, split=ladder.split, protocol=ladder.protocol, category=MEAN_CATEGORY
        )
        if theirs.is_empty():
            continue
        heads = ["Reported by others", *(metric_label(metric) for metric in ladder.main_metrics)]
        lines = [f"| {' | '.join(heads)} |", f"|:---|{'---:|' * len(ladder.main_metrics)}"]
        for (system, backbone, venue), rows in theirs.group_by(
            "system", "backbone", "venue", maintain_order=True
        ):
            value = {(row["metric"], row["k"]): f"{row['value']:.2f}" for row in rows.iter_rows(named=True)}
            cells = [value.get(metric, "–") for metric in ladder.main_metrics]
            lines.append(f"| {system}, {backbone} ({venue}) | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return parts


def _flat(made: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in made.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{before}{name}.")
        else:
            rows.append((f"{before}{name}", f"`{value}`"))
    return rows
