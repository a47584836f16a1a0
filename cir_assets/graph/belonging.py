"""Where an asset stands in the graph, so that one reads of which data set, backbone and recipe it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cir_assets.pipeline.identity import DatasetPlan, EncodedDataset, Pipeline

Belonging = Pipeline | EncodedDataset | DatasetPlan | str
"""What an asset may belong to; a group's own name where it belongs to no data set."""


@dataclass(frozen=True)
class Place:
    """Where an asset stands.

    Attributes:
        group: the labelled box it is drawn in.
        owners: e-mail addresses or ``team:<name>``.
        said: what its description begins with, which is what its own box shows.
        tags: data set, backbone and recipe, as far as it has them; the UI selects by them.
    """

    group: str
    owners: Sequence[str]
    said: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


def place_of(of: Belonging) -> Place:
    """The place of what belongs to a pipeline, a data set under a backbone, a data set, or to none of them."""
    match of:
        case Pipeline():
            dataset, backbone, recipe = of.place
            tags = {"dataset": dataset, "backbone": backbone, "recipe": recipe}
            return Place(of.group, of.data.owners, f"`{recipe}` on `{backbone}`. ", tags)
        case EncodedDataset():
            tags = {"dataset": of.data.dataset, "backbone": of.backbone}
            return Place(of.data.dataset, of.data.owners, f"`{of.backbone}`. ", tags)
        case DatasetPlan():
            return Place(of.dataset, of.owners, tags={"dataset": of.dataset})
    return Place(of, ["team:retrieval"])
