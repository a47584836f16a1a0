"""Scoring a model in training: the same ranking and the same figures as the evaluation, and no more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cir_assets.retrieval.evaluation import ranked_target
from cir_assets.retrieval.metrics import (
    MEAN_CATEGORY,
    category_means,
    headline,
    metric_name,
    per_query_values,
    selection_mean,
)
from cir_assets.retrieval.protocols import HEADLINE, Protocol, QueryGroup, protocol_named
from cir_assets.retrieval.ranking import search, unit_length


class Validation:
    """The queries of a split, ready to be scored after each epoch.

    Attributes:
        protocol: how they are evaluated.
        captions: all captions, in the order of the groups; Q in all.
        reference: int64 (Q,), on the CPU: the row of the feature matrix of each reference.
    """

    def __init__(self, groups: Sequence[QueryGroup], features: Tensor, protocol: Protocol | str) -> None:
        """Take the groups' galleries out of the features.

        Args:
            groups: as ``query_groups`` gives them for ``protocol``.
            features: (N, D), raw or unit length. Queries are scored on their device.
            protocol: a protocol or its name.

        Raises:
            ValueError: there are no queries, or a gallery feature is zero or not finite.
        """
        self.protocol = protocol_named(protocol)
        self.captions: list[str] = [caption for group in groups for caption in group.captions]
        if not self.captions:
            raise ValueError("there are no queries to validate on")
        self.reference: Tensor = torch.from_numpy(np.concatenate([group.reference for group in groups]))
        self._groups = list(groups)
        self._categories = [group.category for group in groups for _ in range(len(group))]
        self._galleries = [
            unit_length(features[torch.from_numpy(group.gallery).to(features.device)].detach())
            for group in groups
        ]

    def on(self, features: Tensor) -> Validation:
        """The same queries over other features (N, D) of the same pictures, as of an encoder in training."""
        return Validation(self._groups, features, self.protocol)

    def rows(self) -> Tensor:
        """Every row of the feature matrix that is ranked or asked about, each once; int64, ascending."""
        named = [self.reference, *(torch.from_numpy(group.gallery) for group in self._groups)]
        return torch.from_numpy(np.unique(torch.cat(named).numpy()))

    def __len__(self) -> int:
        """How many queries there are."""
        return len(self.captions)

    def score(self, queries: Tensor) -> dict[str, float]:
        """Rank every query's target and sum up.

        Args:
            queries: (Q, D), unit length, in the order of ``captions``.

        Returns:
            Percent: "headline"; each metric's mean over categories as "recall@10"; each category's as
            "dress/recall@10"; and "arithmetic_mean", "harmonic_mean", "geometric_mean" of the metrics.

        Raises:
            ValueError: the number of queries or their dimension does not fit, or one is not finite.
        """
        if len(queries) != len(self):
            raise ValueError(f"expected {len(self)} queries in the order of the captions, got {len(queries)}")
        values = []
        parts = torch.split(queries.detach(), [len(group) for group in self._groups])
        for group, gallery, part in zip(self._groups, self._galleries, parts, strict=True):
            part = part.to(gallery.device)
            depth = self.protocol.depth if self.protocol.averages_precision else 0
            ranked = search(
                part,
                gallery,
                ranked_target(group, part, gallery),
                group.excluded,
                k=depth,
                members=group.members,
                with_scores=False,
            )
            values.append(
                per_query_values(
                    self.protocol,
                    ranked.target_rank,
                    ranked.subset_rank,
                    ranked.positions,
                    group.target,
                    group.further_targets,
                )
            )
        means = category_means(np.concatenate(values), self._categories)
        names = self.protocol.metrics
        figures = {category: dict(zip(names, row.tolist(), strict=True)) for category, row in means.items()}
        overall = figures.pop(MEAN_CATEGORY)
        scores = {HEADLINE: headline(self.protocol, overall)}
        scores |= {metric_name(key): value for key, value in overall.items()}
        for category, row in figures.items():
            scores |= {f"{category}/{metric_name(key)}": value for key, value in row.items()}
        scores["arithmetic_mean"] = selection_mean(self.protocol, overall, "arithmetic")
        scores["harmonic_mean"] = selection_mean(self.protocol, overall, "harmonic")
        scores["geometric_mean"] = selection_mean(self.protocol, overall, "geometric")
        return scores
