"""Ranking and recalls at FashionIQ's and CIRR's sizes, against the bare matrix product of the same shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from benchmarks.measuring import Measured, Scale, in_turn, operations_per_second
from cir_assets.retrieval.evaluation import evaluate_each
from cir_assets.retrieval.metrics import category_means, per_query_values
from cir_assets.retrieval.protocols import WHOLE_SPLIT, QueryGroup, protocol_named
from cir_assets.retrieval.ranking import search

TITLE = "ranking and recalls, from unit features to figures"

DIMENSION = 640
FASHIONIQ = ((2017, 3817), (2038, 6346), (1961, 5373))
"""Queries and pictures of dress, shirt and toptee on val, original split."""
VAL_SPLIT = (2628, 3089, 2902)
"""Of these, pictures that are a reference or a target."""
FOUR = (
    "fashioniq",
    "fashioniq_without_reference",
    "fashioniq_val_split",
    "fashioniq_val_split_with_reference",
)
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


def fashioniq_under_four(
    percent: int, device: str
) -> tuple[dict[str, list[QueryGroup]], torch.Tensor, torch.Tensor]:
    """FashionIQ's val queries under its four protocols, with drawn features: groups, queries, features."""
    random = np.random.default_rng(5)
    asked: dict[str, list[QueryGroup]] = {name: [] for name in FOUR}
    parts = []
    before = 0
    for number, ((queries, size), used) in enumerate(zip(FASHIONIQ, VAL_SPLIT, strict=True)):
        count, size, used = (max(60, int(each * (percent / 100) ** 0.5)) for each in (queries, size, used))
        gallery = torch.nn.functional.normalize(torch.randn(size, DIMENSION), dim=1)
        named = np.sort(random.permutation(size)[: min(used, size)])
        within = np.stack([random.permutation(len(named))[:2] for _ in range(count)])
        reference, target = named[within].T
        texts = torch.nn.functional.normalize(
            gallery[torch.from_numpy(target)]
            + 1.3 * gallery[torch.from_numpy(reference)]
            + 0.05 * torch.randn(count, DIMENSION),
            dim=1,
        )
        for name, groups in asked.items():
            protocol = protocol_named(name)
            whole = protocol.gallery == WHOLE_SPLIT
            places = np.stack([reference, target]) if whole else within.T
            groups.append(
                QueryGroup(
                    category=str(number),
                    gallery=before + (np.arange(size) if whole else named),
                    reference=before + reference,
                    target=places[1],
                    excluded=places[0] if protocol.reference_removed else np.full(count, -1),
                    members=None,
                    captions=["a caption"] * count,
                    query_ids=[f"{number}-{query}" for query in range(count)],
                )
            )
        parts.append((texts, gallery))
        before += size
    queries_of, features = (torch.cat(each).to(device) for each in zip(*parts, strict=True))
    return asked, queries_of, features


def four_protocols(scale: Scale) -> Iterator[Measured]:
    """FashionIQ's four protocols evaluated together, beside one of them."""
    for percent in scale.sizes(1, 10, 100):
        asked, queries, features = fashioniq_under_four(percent, scale.device)
        first = next(iter(asked))
        actions: dict[str, Callable[[], object]] = {
            "four": partial(evaluate_each, asked, queries, features),
            "one": partial(evaluate_each, {first: asked[first]}, queries, features),
            "apart": lambda asked=asked, queries=queries, features=features: [  # type: ignore[misc]
                evaluate_each({name: groups}, queries, features) for name, groups in asked.items()
            ],
        }
        took = in_turn(actions, scale.repeats(5), scale.device)
        products = sum(2 * len(each) * len(each.gallery) * DIMENSION for each in asked[first])
        ratio = took["four"].median / took["one"].median
        yield Measured(
            "FashionIQ: four protocols evaluated together, 50 best kept",
            f"{len(queries):,} queries, {len(features):,} pictures, D {DIMENSION}",
            products,
            took["four"],
            took["one"].median,
            "one of them alone, in the same run",
            "the four one after the other",
            took["apart"],
            "at most 1.3 × one" if percent == 100 else "",
            ratio <= 1.3 if percent == 100 else None,
            {"of one": ratio},
        )


def run(scale: Scale) -> Iterator[Measured]:
    """FashionIQ's three categories, under one protocol and four, and CIRR with its subsets; also in small."""
    yield from four_protocols(scale)
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
