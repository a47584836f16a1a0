"""Query features of every method of the ladder: what evaluation ranks and submissions are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cir_assets.models.stages import TEXT_ENCODER
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.inputs import PipelineInputs, load_tuned, newest_models
from cir_assets.pipeline.step import Work
from cir_assets.retrieval.methods import METHODS, Method
from cir_assets.retrieval.protocols import HEADLINE

if TYPE_CHECKING:
    from torch import Tensor

    from cir_assets.models.backbone import Backbone
    from cir_assets.models.combiner import Combiner
    from cir_assets.retrieval.protocols import QueryGroup
    from cir_assets.retrieval.validation import Validation

    Asked = Mapping[tuple[str, str], Sequence[QueryGroup]]


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
        share: of a method that has shares, the one taken; None for the others.
        inputs: tables, and the features this method ranks.
    """

    method: str
    split: str
    protocol: str
    groups: Sequence[QueryGroup]
    queries: Tensor
    text_weight: Tensor | None
    share: float | None
    inputs: PipelineInputs


def method_queries(
    work: Work,
    pipeline: Pipeline,
    backbone: Backbone,
    inputs: PipelineInputs,
    asked: Asked,
    methods: Sequence[str],
    folders: Mapping[str, Path] | None = None,
    shares: Mapping[str, float | None] | None = None,
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
        shares: method -> share to take; what is not named is chosen on val, under the first protocol.
    """
    import torch

    from cir_assets.models.saving import load_combiners

    folders = newest_models(work, pipeline, pipeline.models) if folders is None else folders

    chosen = [METHODS[name] for name in methods]
    validation = None
    if any(method.shares and method.name not in (shares or {}) for method in chosen):
        first = pipeline.data.protocols[0]
        on_val = inputs.query_groups(first, "val")
        validation = _Val(first, on_val) if any(map(len, on_val)) else None
    captions = {key: [c for group in groups for c in group.captions] for key, groups in asked.items()}
    said_on_val = [c for group in validation.groups for c in group.captions] if validation else []
    every = list(dict.fromkeys(caption for said in (*captions.values(), said_on_val) for caption in said))
    place = {caption: row for row, caption in enumerate(every)}
    # Stage 1's encoders take the place of CLIP's own in the backbone, which is read first.
    by_encoder: dict[bool, tuple[PipelineInputs, Tensor]] = {}
    if not all(method.tuned for method in chosen):
        by_encoder[False] = inputs, backbone.text_features(every)
    if any(method.tuned for method in chosen):
        tuned = load_tuned(work, pipeline, backbone, inputs, folders[TEXT_ENCODER])
        by_encoder[True] = tuned, backbone.text_features(every)
    needed = {model: folders[model] for method in chosen for model in method.models}
    combiners = {
        name: combiner.to(backbone.device)
        for name, combiner in load_combiners(needed, backbone.feature_dimension).items()
    }
    for method in chosen:
        ranked, text_features = by_encoder[method.tuned]
        share = (shares or {}).get(method.name, method.default_share)
        if method.shares and validation is not None and method.name not in (shares or {}):
            text = text_features[[place[caption] for caption in said_on_val]]
            share = best_share(method, validation.over(ranked.features), ranked.features, text, combiners)
        # Protocols that ask the same of the same pictures differ in the ranking alone.
        composed: dict[tuple[tuple[int, ...], ...], tuple[Tensor, Tensor | None]] = {}
        for (split, protocol), groups in asked.items():
            rows = tuple(int(row) for group in groups for row in group.reference)
            texts = tuple(place[caption] for caption in captions[split, protocol])
            if (rows, texts) not in composed:
                image = ranked.features[torch.tensor(rows, device=backbone.device)]
                with torch.no_grad():
                    composed[rows, texts] = method.compose(
                        image, text_features[list(texts)], combiners, share=share
                    )
            queries, weight = composed[rows, texts]
            yield MethodQueries(method.name, split, protocol, groups, queries, weight, share, ranked)


@dataclass(frozen=True)
class _Val:
    """The queries that shares are chosen on."""

    protocol: str
    groups: Sequence[QueryGroup]

    def over(self, features: Tensor) -> Validation:
        from cir_assets.retrieval.validation import Validation

        return Validation(self.groups, features, self.protocol)


def best_share(
    method: Method, validation: Validation, features: Tensor, text: Tensor, combiners: Mapping[str, Combiner]
) -> float:
    """Of a method's shares the one with the highest headline; of equal ones the first.

    Args:
        method: one that has shares.
        validation: the queries of val.
        features: raw image features, (N, D), the rows of ``validation.reference`` among them.
        text: raw features of its captions, (Q, D).
        combiners: those the method needs.
    """
    import torch

    image = features[validation.reference.to(features.device)]
    with torch.no_grad():
        scores = {
            share: validation.score(method.compose(image, text, combiners, share=share)[0])[HEADLINE]
            for share in method.shares
        }
    return max(scores, key=lambda share: scores[share])
