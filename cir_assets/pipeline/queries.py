"""Query features of every method of the ladder: what evaluation ranks and submissions are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.inputs import PipelineInputs, load_tuned, newest_models
from cir_assets.pipeline.step import Work

if TYPE_CHECKING:
    from torch import Tensor

    from cir_assets.models.backbone import Backbone
    from cir_assets.models.combiner import Combiner
    from cir_assets.retrieval.protocols import QueryGroup

    Asked = Mapping[tuple[str, str], Sequence[QueryGroup]]

UNTUNED = ("image_only", "text_only", "sum", "combiner_frozen_clip")
"""Methods on CLIP as it came."""


@dataclass(frozen=True)
class MethodQueries:
    """One method's queries on one split under one protocol.

    Attributes:
        method: of the ladder.
        split: val or test.
        protocol: by name.
        groups: the queries, in the order of the rows.
        queries: float32 (Q, D), unit length.
        text_weight: the Combiner's lambda, (Q, 1); None for the other methods.
        inputs: tables, and the features this method ranks.
    """

    method: str
    split: str
    protocol: str
    groups: Sequence[QueryGroup]
    queries: Tensor
    text_weight: Tensor | None
    inputs: PipelineInputs


def method_queries(
    work: Work,
    pipeline: Pipeline,
    backbone: Backbone,
    inputs: PipelineInputs,
    asked: Asked,
    methods: Sequence[str],
    folders: Mapping[str, Path] | None = None,
) -> Iterator[MethodQueries]:
    """Every method's queries for every (split, protocol) asked; each text encoder reads every caption once.

    Args:
        work: where models lie.
        pipeline: whose models are evaluated.
        backbone: as it came; it ends with stage 1's encoders in place, where a method needs them.
        inputs: tables and features of the backbone as it came.
        asked: (split, protocol) -> its queries, one group a category.
        methods: of ``pipeline.methods``.
        folders: model -> folder of the version to take; the newest of each if None.
    """
    import torch
    from torch.nn import functional

    from cir_assets.models.saving import load_combiner

    folders = folders or newest_models(work, pipeline, pipeline.models)

    captions = {key: [c for group in groups for c in group.captions] for key, groups in asked.items()}
    every = list(dict.fromkeys(caption for said in captions.values() for caption in said))
    place = {caption: row for row, caption in enumerate(every)}
    seen: dict[str, tuple[PipelineInputs, Tensor]] = {}
    if any(method in UNTUNED for method in methods):
        seen |= dict.fromkeys(UNTUNED, (inputs, backbone.text_features(every)))
    if any(method not in UNTUNED for method in methods):
        tuned = load_tuned(work, pipeline, backbone, inputs, folders["text_encoder"])
        text = backbone.text_features(every)
        seen |= dict.fromkeys(("text_encoder_sum", "combiner"), (tuned, text))
    combiners: dict[str, Combiner] = {
        name: load_combiner(folders[name], backbone.feature_dimension).to(backbone.device).eval()
        for name in methods
        if name.startswith("combiner")
    }
    for method in methods:
        ranked, text_features = seen[method]
        for (split, protocol), groups in asked.items():
            rows = torch.tensor([int(row) for group in groups for row in group.reference])
            image = ranked.features[rows.to(backbone.device)]
            text = text_features[[place[caption] for caption in captions[split, protocol]]]
            weight = None
            if method in combiners:
                with torch.no_grad():
                    queries, weight = combiners[method].combine(image, text)
            else:
                mixed = {"image_only": image, "text_only": text}.get(method, image + text)
                queries = functional.normalize(mixed, dim=1)
            yield MethodQueries(method, split, protocol, groups, queries, weight, ranked)
