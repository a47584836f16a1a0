"""What another system ranked stands beside our methods in results and leaderboard; a broken file changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cir_assets.datasets.catalogue_source import CatalogueSource
from cir_assets.pipeline.brought_ranking import brought_ranking_step, evaluate_brought
from cir_assets.pipeline.identity import BroughtRanking, DatasetPlan
from cir_assets.pipeline.step import Work
from cir_assets.retrieval.promotion import PromotionRule
from cir_assets.retrieval.ranking_files import BrokenRanking, RankingFile
from cir_assets.store.contracts import (
    DATA_ISSUES,
    GALLERIES,
    IMAGES,
    MISSING_PICTURES,
    TRIPLETS,
    empty,
    frame,
)
from cir_assets.store.layout import Storage
from cir_assets.store.publishing import open_publication, publish
from cir_assets.store.tables import write_table

SHOWN = [f"p{number:02d}" for number in range(60)]
QUERIES = {"q1": ("p00", "p01"), "q2": ("p02", "p03"), "q3": ("p04", "p05")}
"""Query -> reference and target."""


@pytest.fixture
def brought(tmp_path: Path) -> tuple[Work, BroughtRanking, Path]:
    """A data set of sixty pictures and three queries, as its tables say, and where a ranking of it may lie."""
    storage = Storage(tmp_path / "storage")
    tables = storage.tables("shop")
    galleries = [
        {"split": "val", "category": "all", "position": place, "image": image}
        for place, image in enumerate(SHOWN)
    ]
    triplets = [
        {
            **{"triplet_id": query, "split": "val", "category": "all", "reference": one, "target": other},
            **{"captions": ["is red"], "further_targets": []},
        }
        for query, (one, other) in QUERIES.items()
    ]
    pictures = [
        {"image": each, "path": f"{each}.png", "image_key": each, "format": "PNG", "mode": "RGB"}
        | {"width": 1, "height": 1, "bytes": 1}
        for each in SHOWN
    ]
    write_table(frame(IMAGES, pictures), tables, IMAGES)
    write_table(frame(GALLERIES, galleries), tables, GALLERIES)
    write_table(frame(TRIPLETS, triplets), tables, TRIPLETS)
    write_table(empty(MISSING_PICTURES), tables, MISSING_PICTURES)
    write_table(empty(DATA_ISSUES), tables, DATA_ISSUES, of="images")
    data = DatasetPlan(
        dataset="shop",
        source=CatalogueSource(kind="catalogue", pictures="shop"),
        protocols=("fashioniq",),
        owners=(),
        device="cpu",
        encoding_batch_size=1,
        decoding_workers=0,
        pixel_limit=1,
        hold_when_pictures_shrink_by=1,
        promotion=PromotionRule(),
        batches=(),
        evaluates=True,
        backbones=(),
    )
    file = tmp_path / "theirs.jsonl"
    return (
        Work(storage),
        BroughtRanking(data, "theirs", RankingFile(file=str(file), label="Theirs, B/32")),
        file,
    )


def write(file: Path, places: dict[str, int]) -> None:
    """Each query's list of fifty: its target at that place from 1, beyond the list where that is above 50."""
    lines = []
    for query, place in places.items():
        others = [image for image in SHOWN if image != QUERIES[query][1]]
        ranked = [*others[: place - 1], QUERIES[query][1], *others[place - 1 :]][:50]
        lines.append(json.dumps({"query_id": query, "images": ranked}) + "\n")
    file.write_text("".join(lines))


def test_it_stands_in_results_and_leaderboard_by_its_label(
    brought: tuple[Work, BroughtRanking, Path],
) -> None:
    work, ranking, file = brought
    write(file, {"q1": 1, "q2": 20, "q3": 55})
    made = evaluate_brought(work, ranking, "v")
    assert made.metadata["val_theirs_headline"] == 50.0
    assert all(check.passed for check in made.checks.values())
    assert "| Theirs, B/32 |" in str(made.metadata["ladder"])
    assert "| Chance | 16.7 | 83.3 | 50.0 |" in str(made.metadata["ladder"])
    published = work.storage.evaluation
    publish([work.storage.results(*ranking.place)], {}, published)
    with open_publication(published) as connection:
        [row] = connection.sql(
            "SELECT dataset, backbone, recipe, method, label, round(headline, 1), round(recall_at_10, 1), chance "
            "FROM leaderboard"
        ).fetchall()
        ranks = connection.sql("SELECT target_rank, target_score FROM rankings ORDER BY query_id").fetchall()
    assert row == ("shop", "rankings", "theirs", "theirs", "Theirs, B/32", 50.0, 33.3, pytest.approx(50.0))
    assert ranks == [(1, None), (20, None), (51, None)]


def test_a_broken_file_leaves_what_was_there_and_a_mended_one_is_another_version(
    brought: tuple[Work, BroughtRanking, Path],
) -> None:
    work, ranking, file = brought
    write(file, {"q1": 1, "q2": 20, "q3": 55})
    evaluate_brought(work, ranking, "v")
    results = work.storage.results(*ranking.place)
    before = results.read_bytes()
    write(file, {"q1": 1, "q2": 20})
    with pytest.raises(BrokenRanking, match="lacks 1 of 3 queries, the first is query q3"):
        evaluate_brought(work, ranking, "w")
    assert results.read_bytes() == before
    step = brought_ranking_step(ranking)
    assert step.name == "shop/rankings/theirs/evaluation"
    assert step.configuration == {"protocol": "fashioniq", "split": "val", "label": "Theirs, B/32"}
