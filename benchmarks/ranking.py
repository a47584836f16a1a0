"""Ranking and recalls at FashionIQ's and CIRR's sizes, against the bare matrix product of the same shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from benchmarks.measuring import Measured, Scale, in_turn, operations_per_second
from cir_assets.retrieval.metrics import category_means, per_query_values
from cir_assets.retrieval.protocols import protocol_named
from cir_assets.retrieval.ranking import search

TITLE = "ranking and recalls, from unit features to figures"

DIMENSION = 640
FASHIONIQ = ((2017, 3817), (2038, 6346), (1961, 5373))
"""Queries and pictures of dress, shirt and toptee on val, original split."""
CIRR = ((4181, 2297),)


class Case:
    """Queries near their targets in galleries of random directions, with CIRR's sets of six where asked for."""

    def __init__(self, protocol: str, shapes: tuple[tuple[int, int], ...], device: str) -> None:
        self.protocol = protocol_named(protocol)
        self.groups = []
        random = np.random.default_rng(5)
        for queries, size in shapes:
            gallery = torch.nn.functional.normalize(torch.randn(size, DIMENSION), dim=1)
            order = np.stack([random.permutation(size)[:6] for _ in range(queries)])
            asked = gallery[torch.from_numpy(order[:, 1])] + 1.3 * gallery[torch.from_numpy(order[:, 0])]
            asked += 0.05 * torch.randn_like(asked)
            asked = torch.nn.functional.normalize(asked, dim=1)
            self.groups.append((asked.to(device), gallery.to(device), order))

    def product(self) -> None:
        """The matrix product alone."""
        for queries, gallery, _ in self.groups:
            queries @ gallery.T

    def ranked(self, depth: int) -> dict[str, np.ndarray]:
        """Target ranks, the best ``depth`` pictures, ranks in the set, and their means."""
        values, categories = [], []
        for number, (queries, gallery, order) in enumerate(self.groups):
            reference, target = order[:, 0], order[:, 1]
            sets = order if self.protocol.name == "cirr" else None
            found = search(queries, gallery, target, reference, k=depth, members=sets, with_scores=depth > 0)
            values.append(
                per_query_values(
                    self.protocol, found.target_rank, found.subset_rank, found.positions, target, None
                )
            )
            categories += [str(number)] * len(queries)
        return category_means(np.concatenate(values), categories)

    def sorted_by_name(self) -> list[float]:
        """The way of the method's first code: sort every gallery whole, compare names."""
        found = []
        for queries, gallery, order in self.groups:
            names = np.array([f"{number:010d}" for number in range(len(gallery))])
            ranked = names[torch.argsort(1 - queries @ gallery.T, dim=-1).cpu().numpy()]
            found += _recalls(ranked, names, order, in_sets=self.protocol.name == "cirr")
        return found


def _recalls(ranked: np.ndarray, names: np.ndarray, order: np.ndarray, *, in_sets: bool) -> list[float]:
    others = ranked != np.repeat(names[order[:, 0]], len(names)).reshape(ranked.shape)
    ranked = ranked[others].reshape(len(ranked), -1)
    hits = ranked == np.repeat(names[order[:, 1]], ranked.shape[1]).reshape(ranked.shape)
    figures = [float(hits[:, :k].sum() / len(hits)) for k in (1, 5, 10, 50)]
    if in_sets:
        inside = (ranked[..., None] == names[order[:, 1:]][:, None, :]).sum(-1).astype(bool)
        within = hits[inside].reshape(len(hits), -1)
        figures += [float(within[:, :k].sum() / len(hits)) for k in (1, 2, 3)]
    return figures


def run(scale: Scale) -> Iterator[Measured]:
    """FashionIQ's three categories and CIRR with its subsets, whole, a tenth and a hundredth."""
    for name, protocol, shapes in (("FashionIQ", "fashioniq", FASHIONIQ), ("CIRR", "cirr", CIRR)):
        for percent in scale.sizes(1, 10, 100):
            part = percent / 100
            shrunk = tuple((max(20, int(q * part**0.5)), max(60, int(g * part**0.5))) for q, g in shapes)
            case = Case(protocol, shrunk, scale.device)
            actions: dict[str, Callable[[], object]] = {
                "product": case.product,
                "ranks": partial(case.ranked, 0),
                "best": partial(case.ranked, 50),
                "names": case.sorted_by_name,
            }
            took = in_turn(actions, scale.repeats(7), scale.device)
            products = sum(2 * q * g * DIMENSION for q, g in shrunk)
            size = f"{sum(q for q, _ in shrunk):,} queries, {sum(g for _, g in shrunk):,} pictures, D {DIMENSION}"
            for key, what in (
                ("ranks", "target ranks and recalls"),
                ("best", "the same, and the 50 best kept"),
            ):
                decides = percent == 100 and key == "ranks"
                yield Measured(
                    f"{name}: {what}",
                    size,
                    products,
                    took[key],
                    took["product"].median,
                    "the product alone, in the same run",
                    "whole sort, names compared",
                    took["names"],
                    "at most 1.5 × the product" if decides else "",
                    took[key].median <= 1.5 * took["product"].median if decides else None,
                    {
                        "product, share of the ceiling": products
                        / took["product"].median
                        / operations_per_second(scale.device)
                    },
                )
