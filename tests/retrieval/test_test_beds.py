"""The protocols of further test beds, held against plain implementations of them on real annotations."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from cir_assets.datasets.genecis import read_genecis
from cir_assets.datasets.shoes import read_shoes
from cir_assets.datasets.tables import Annotations
from cir_assets.retrieval.evaluation import Evaluation, evaluate
from cir_assets.retrieval.protocols import query_groups
from cir_assets.retrieval.validation import Validation
from tests.retrieval.conftest import figures_of, gallery_table, triplet_table

DIMENSION = 16

Drawn = tuple[Evaluation, dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]


def evaluated(protocol: str, images: list[str], galleries: pl.DataFrame, triplets: pl.DataFrame) -> Drawn:
    """An evaluation of drawn features; the features by picture, the query vectors by id."""
    random = np.random.default_rng(5)
    features = random.standard_normal((len(images), DIMENSION)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    groups = query_groups(protocol, "val", images, galleries, triplets)
    queries = []
    for group in groups:
        wanted = features[group.gallery[group.target]] + features[group.reference]
        noisy = wanted + random.standard_normal(wanted.shape).astype(np.float32)
        queries.append(noisy / np.linalg.norm(noisy, axis=1, keepdims=True))
    stacked = np.concatenate(queries)
    outcome = evaluate(protocol, groups, stacked, features, resamples=50)
    validated = Validation(groups, torch.from_numpy(features), protocol).score(torch.from_numpy(stacked))
    assert validated["headline"] == pytest.approx(outcome.headline)
    names = [name for group in groups for name in group.query_ids]
    return outcome, dict(zip(images, features, strict=True)), dict(zip(names, stacked, strict=True))


def of_val(read: Annotations) -> tuple[list[str], pl.DataFrame, pl.DataFrame]:
    return (
        read.pictures["image"].to_list(),
        read.galleries.filter(split="val"),
        read.triplets.filter(split="val"),
    )


def test_genecis_counts_the_target_among_its_fifteen_and_means_over_tasks(real_data: Path) -> None:
    images, galleries, triplets = of_val(read_genecis(real_data / "genecis", pictures=real_data / "absent"))
    outcome, feature, vector = evaluated("genecis", images, galleries, triplets)
    hits: dict[tuple[str, int], list[bool]] = defaultdict(list)
    for row in triplets.iter_rows(named=True):
        query = vector[row["triplet_id"]]
        order = sorted(row["set_members"], key=lambda image: -float(query @ feature[image]))
        for k in (1, 2, 3):
            hits[row["category"], k].append(row["target"] in order[:k])
    assert outcome.queries == 3_920
    for k in (1, 2, 3):
        tasks = []
        for task in ("focus_object", "change_object"):
            tasks.append(100 * float(np.mean(hits[task, k])))
            assert figures_of(outcome, task)[f"subset_recall@{k}"] == pytest.approx(tasks[-1])
        assert figures_of(outcome)[f"subset_recall@{k}"] == pytest.approx(np.mean(tasks))
    assert outcome.headline == pytest.approx(figures_of(outcome)["subset_recall@1"])


def test_shoes_ranks_in_the_eval_pictures_without_the_reference(real_data: Path) -> None:
    images, galleries, triplets = of_val(read_shoes(real_data / "shoes"))
    outcome, feature, vector = evaluated("shoes", images, galleries, triplets)
    gallery = galleries["image"].to_list()
    matrix = np.stack([feature[image] for image in gallery])
    ranks = []
    assert outcome.left_out == {"reference_is_target": 1}
    for row in triplets.filter(pl.col("reference") != pl.col("target")).iter_rows(named=True):
        scores = matrix @ vector[row["triplet_id"]]
        scores[gallery.index(row["reference"])] = -np.inf
        ranks.append(int((scores > scores[gallery.index(row["target"])]).sum()))
    assert (outcome.queries, outcome.gallery_size) == (1_760, 4_658)
    recalls = {k: 100 * float(np.mean(np.array(ranks) < k)) for k in (1, 10, 50)}
    for k, recall in recalls.items():
        assert figures_of(outcome)[f"recall@{k}"] == pytest.approx(recall)
    assert outcome.headline == pytest.approx(np.mean(list(recalls.values())))


IMAGES = [f"p{number}" for number in range(30)]


def test_fashion200k_takes_any_picture_of_the_target_s_description() -> None:
    galleries = gallery_table("val", "all", IMAGES)
    triplets = triplet_table(
        [
            {
                "triplet_id": f"q{number}",
                "reference": IMAGES[number],
                "target": IMAGES[number + 10],
                "further_targets": [IMAGES[number + 20]],
            }
            for number in range(10)
        ]
    )
    outcome, feature, vector = evaluated("fashion200k", IMAGES, galleries, triplets)
    best = []
    for row in triplets.iter_rows(named=True):
        others = [image for image in IMAGES if image != row["reference"]]
        order = sorted(others, key=lambda image: -float(vector[row["triplet_id"]] @ feature[image]))
        best.append(min(order.index(image) for image in (row["target"], *row["further_targets"])))
    assert outcome.rankings["target_rank"].to_list() == best
    # What was asked for stays the picture that was named, so that two models are compared on the same question.
    assert outcome.rankings["target_row"].to_list() == list(range(10, 20))
    assert figures_of(outcome)["recall@1"] == pytest.approx(10 * best.count(0))


def test_icir_averages_precision_over_the_whole_database_of_an_instance_and_then_over_instances() -> None:
    temple, mug = IMAGES[:20], IMAGES[20:28]
    galleries = pl.concat([gallery_table("val", "temple", temple), gallery_table("val", "mug", mug)])
    triplets = triplet_table(
        [
            *(
                {
                    "triplet_id": f"t{number}",
                    "category": "temple",
                    "reference": IMAGES[28],
                    "target": temple[number],
                    "further_targets": [temple[number + 1], temple[number + 7]],
                }
                for number in range(3)
            ),
            {"triplet_id": "m0", "category": "mug", "reference": IMAGES[29], "target": mug[3]},
        ]
    )
    outcome, feature, vector = evaluated("icir", IMAGES, galleries, triplets)
    precisions = defaultdict(list)
    for row in triplets.iter_rows(named=True):
        gallery = temple if row["category"] == "temple" else mug
        order = sorted(gallery, key=lambda image: -float(vector[row["triplet_id"]] @ feature[image]))
        true = [row["target"], *row["further_targets"]]
        places = sorted(order.index(image) for image in true)
        halves = [
            ((n / place if place else 1.0) + (n + 1) / (place + 1)) / 2 for n, place in enumerate(places)
        ]
        precisions[row["category"]].append(sum(halves) / len(true))
    means = {category: 100 * float(np.mean(each)) for category, each in precisions.items()}
    for category, mean in means.items():
        assert figures_of(outcome, category)["mean_average_precision"] == pytest.approx(mean)
    assert outcome.headline == pytest.approx(np.mean(list(means.values())))
