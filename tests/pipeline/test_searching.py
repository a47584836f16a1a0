"""What the graph exports is what search finds: the champion's ranking, or CLIP's where there is no champion."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import duckdb
import pytest

from cir_assets.serving.champions import Champions
from tests.pipeline.conftest import ByHand
from tests.random_pictures import picture_bytes
from tests.trial_project import TrialProject, metadata_of


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(30):
        (folder / f"P{number:02d}.jpg").write_bytes(picture_bytes(f"picture {number}"))
    return folder


def test_pictures_without_a_triplet_are_searched_by_clip_as_it_came(
    project: TrialProject, instance: dg.DagsterInstance, pictures: Path
) -> None:
    project.write_dataset("shop", source={"kind": "catalogue", "pictures": str(pictures)}, recipes={})
    assert project.materialize(instance, 'key:"shop/*"').success
    searcher = Champions(project.storage.root).of("shop")
    assert (searcher.about.method, searcher.about.share) == ("slerp", 0.2)
    assert searcher.about.champion is None
    assert len(searcher) == 30
    answer = searcher.search("P03.jpg", "is red", top=5)
    assert len(answer.images) == 5
    assert answer.text_weight is None
    (pictures / "P30.jpg").write_bytes(picture_bytes("one more"))
    again = project.materialize(instance, 'key:"shop/*"')
    assert metadata_of(again, "shop/tiny_clip/zero_shot/search")["pictures"] == 31


def test_a_search_ranks_as_the_evaluation_did(by_hand: ByHand) -> None:
    searcher = Champions(by_hand.work.storage.root).of("shop")
    method = searcher.about.method
    with duckdb.connect(str(by_hand.work.storage.evaluation), read_only=True) as published:
        rows = published.sql(
            """SELECT reference, caption, target, target_score, text_weight FROM rankings
            JOIN evaluations USING (evaluation_id) WHERE method = $method AND split = 'val'
            AND reference != target""",
            params={"method": method},
        ).fetchall()
        chosen = published.sql("SELECT DISTINCT method FROM evaluations WHERE served_because IS NOT NULL")
        assert chosen.fetchall() == [(method,)]
        [(champion,)] = published.sql("SELECT challenger FROM promotions").fetchall()
    assert searcher.about.champion == champion
    assert len(rows) == 8
    for reference, caption, target, score, weight in rows:
        answer = searcher.search(reference, caption, target=target)
        assert answer.target_score == pytest.approx(score, abs=1e-4)
        assert answer.text_weight == (None if weight is None else pytest.approx(weight, abs=1e-4))
    for example in searcher.examples.iter_rows(named=True):
        answer = searcher.search(
            example["reference"], example["caption"], category=example["category"], target=example["target"]
        )
        # Exact copies, for which one stands here, are pictures of their own in an evaluation.
        assert answer.target_rank is not None
        assert answer.target_rank <= example["rank"]
    assert searcher.suggestions[None]
