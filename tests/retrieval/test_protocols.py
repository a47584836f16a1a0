"""Which gallery, which targets, what is left out and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from pydantic import TypeAdapter

from cir_assets.retrieval.protocols import (
    PROTOCOLS,
    RENAMED,
    ProtocolName,
    missing_for,
    protocol_named,
    query_groups,
)
from tests.literals import files_with
from tests.retrieval.conftest import Tables, gallery_table, triplet_table


def small_fashion() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two categories that share picture s1; d3 and s4 are in no triplet."""
    galleries = pl.concat(
        [
            gallery_table("val", "shirt", ["s1", "s2", "s3", "s4"]),
            gallery_table("val", "dress", ["d1", "d2", "d3", "s1"]),
            gallery_table("test", "dress", ["t1"]),
        ]
    )
    triplets = triplet_table(
        [
            {
                "triplet_id": "0",
                "category": "dress",
                "reference": "d2",
                "target": "d1",
                "captions": ["is red", "longer"],
            },
            {"triplet_id": "1", "category": "shirt", "reference": "s1", "target": "s3"},
            {"triplet_id": "2", "category": "dress", "reference": "d1", "target": "s1"},
        ]
    )
    return galleries, triplets


IMAGES = ["s4", "d1", "s1", "d3", "s2", "d2", "s3"]


def test_one_group_a_category_with_the_whole_split_as_gallery_in_file_order() -> None:
    shirt, dress = query_groups("fashioniq", "val", IMAGES, *small_fashion())
    assert (shirt.category, dress.category) == ("shirt", "dress")
    assert [IMAGES[row] for row in dress.gallery] == ["d1", "d2", "d3", "s1"]
    assert [IMAGES[row] for row in dress.reference] == ["d2", "d1"]
    assert dress.target.tolist() == [0, 3]
    assert dress.excluded.tolist() == [-1, -1]
    assert dress.members is None
    assert dress.query_ids == ["0", "2"]
    assert dress.captions[0] == "Is red and longer"
    assert dress.left_out == shirt.left_out == {}


@pytest.mark.parametrize(("protocol", "kept"), [("", False), ("_with_reference", True)])
def test_the_val_split_gallery_holds_references_and_targets_alone(protocol: str, kept: bool) -> None:
    shirt, dress = query_groups(f"fashioniq_val_split{protocol}", "val", IMAGES, *small_fashion())
    assert [IMAGES[row] for row in shirt.gallery] == ["s1", "s3"]
    assert [IMAGES[row] for row in dress.gallery] == ["d1", "d2", "s1"]
    assert dress.target.tolist() == [0, 2]
    assert dress.excluded.tolist() == ([-1, -1] if kept else [1, 0])


def test_only_what_once_had_another_meaning_has_another_identity() -> None:
    changed = {protocol.name for protocol in PROTOCOLS.values() if protocol.identity != protocol.name}
    assert changed == set(RENAMED) == {"fashioniq_val_split"}
    assert not any(PROTOCOLS[name].reference_removed for name in RENAMED.values())


def test_the_text_read_is_the_protocols_template() -> None:
    rows = [
        {"triplet_id": "0", "reference": "1", "target": "2", "captions": ["runs"], "further_targets": ["3"]},
        {
            "triplet_id": "1",
            "reference": "1",
            "target": "2",
            "captions": [" sits "],
            "further_targets": ["3"],
        },
    ]
    rows[0] |= {"shared_concept": "a dog", "reference_caption": "A poodle. "}
    galleries = gallery_table("val", "all", ["1", "2", "3"])

    def texts(protocol: str) -> list[str]:
        [group] = query_groups(protocol, "val", ["1", "2", "3"], galleries, triplet_table(rows))
        return group.captions

    assert texts("circo") == ["runs", "sits"]
    assert texts("circo_with_concept") == ["a dog, runs", "sits"]
    assert texts("fashioniq_with_reference_caption") == ["A poodle, runs", "sits"]
    without = triplet_table([rows[1]])
    said = missing_for("circo_with_concept", "val", galleries, without)
    assert said is not None
    assert "no shared_concept, which circo_with_concept reads (template concept_and_caption)" in said
    # A table written before there were such columns says the same.
    older = without.drop("shared_concept", "reference_caption")
    assert missing_for("circo_with_concept", "val", galleries, older) == said
    assert missing_for("circo", "val", galleries, older) is None


def test_triplets_and_gallery_pictures_without_a_feature_are_left_out_and_counted() -> None:
    shirt, dress = query_groups("fashioniq", "val", ["s1", "s2", "d1", "d2", "d3"], *small_fashion())
    assert shirt.query_ids == []
    assert shirt.left_out == {"gallery_picture_without_feature": 2, "target_without_feature": 1}
    assert dress.left_out == {}
    _, dress = query_groups("fashioniq", "val", ["s1", "s3", "d1"], *small_fashion())
    assert dress.left_out == {"gallery_picture_without_feature": 2, "reference_without_feature": 1}
    assert dress.target.tolist() == [1]


def test_nothing_left_to_rank_is_an_error_that_says_why() -> None:
    with pytest.raises(
        ValueError, match=r"no query .* reference_without_feature 2, target_without_feature 1"
    ):
        query_groups("fashioniq", "val", ["d3", "s1"], *small_fashion())


def test_cirr_removes_the_reference_and_ranks_within_its_set() -> None:
    images = list("abcdefgh")
    galleries = gallery_table("val", "all", images)
    rows: list[dict[str, Any]] = [
        {"triplet_id": "1", "reference": "b", "target": "c", "set_members": list("cabfgh")},
        {"triplet_id": "2", "reference": "b", "target": "e", "set_members": list("cabfgh")},
        {"triplet_id": "3", "reference": "b", "target": "b", "set_members": list("cabfgh")},
        {"triplet_id": "4", "reference": "b", "target": "c"},
        {"triplet_id": "5", "reference": "b", "target": None, "set_members": list("cabfgh")},
    ]
    (group,) = query_groups("cirr", "val", images, galleries, triplet_table(rows))
    assert group.query_ids == ["1"]
    assert group.excluded.tolist() == [1]
    assert group.members is not None
    assert group.members.tolist() == [[2, 0, 1, 5, 6, 7]]
    assert group.left_out == {
        "no_image_set": 1,
        "no_target": 1,
        "reference_is_target": 1,
        "target_outside_image_set": 1,
    }
    (group,) = query_groups("cirr", "val", images[:-1], galleries, triplet_table(rows[:1]))
    assert group.members is not None
    assert group.members.tolist() == [[2, 0, 1, 5, 6]]
    assert group.left_out == {"gallery_picture_without_feature": 1, "image_set_member_without_feature": 1}


def test_circo_keeps_the_reference_and_every_true_target_once() -> None:
    rows: list[dict[str, Any]] = [
        {"triplet_id": "0", "reference": "1", "target": "3", "further_targets": ["3", "2", "2", "9"]},
        {"triplet_id": "1", "reference": "2", "target": "1", "further_targets": []},
    ]
    galleries = gallery_table("val", "all", ["1", "2", "3"])
    (group,) = query_groups("circo", "val", ["1", "2", "3"], galleries, triplet_table(rows))
    assert group.excluded.tolist() == [-1, -1]
    assert group.further_targets is not None
    assert group.further_targets.tolist() == [[1], [-1]]
    assert group.left_out == {"further_target_without_feature": 1}


def test_what_a_data_set_lacks_for_a_protocol_is_named() -> None:
    galleries, triplets = small_fashion()
    assert missing_for("fashioniq", "val", galleries, triplets) is None
    assert missing_for("cirr", "val", galleries, triplets) is not None
    assert "image sets" in str(missing_for("cirr", "val", galleries, triplets))
    assert "one target a query" in str(missing_for("circo", "val", galleries, triplets))
    assert "no triplets" in str(missing_for("fashioniq", "test", galleries, triplets))
    assert "no gallery" in str(missing_for("fashioniq", "train", galleries, triplets))
    untold = triplets.with_columns(target=pl.lit(None, dtype=pl.String))
    assert "no public targets" in str(missing_for("fashioniq", "val", galleries, untold))
    with pytest.raises(ValueError, match="image sets"):
        query_groups("cirr", "val", IMAGES, galleries, triplets)
    with pytest.raises(ValueError, match="no public targets"):
        query_groups("fashioniq", "val", IMAGES, galleries, untold)
    with pytest.raises(ValueError, match="no protocol 'recall'; there are fashioniq, "):
        protocol_named("recall")


def test_the_headlines_are_those_the_literature_uses() -> None:
    assert PROTOCOLS["fashioniq"].headline == (("recall", 10), ("recall", 50))
    assert PROTOCOLS["cirr"].headline == (("recall", 5), ("subset_recall", 1))


@pytest.mark.parametrize(
    ("category", "queries", "original", "val_split"),
    [("dress", 2017, 3817, 2628), ("shirt", 2038, 6346, 3089), ("toptee", 1961, 5373, 2902)],
)
def test_fashioniqs_real_galleries_have_their_published_sizes(
    fashioniq_tables: Callable[[str], Tables], category: str, queries: int, original: int, val_split: int
) -> None:
    images, galleries, triplets = fashioniq_tables(category)
    (group,) = query_groups("fashioniq", "val", images, galleries, triplets)
    assert (len(group), len(group.gallery)) == (queries, original)
    (group,) = query_groups("fashioniq_val_split", "val", images, galleries, triplets)
    assert (len(group), len(group.gallery)) == (queries, val_split)


def test_cirrs_real_val_split_loses_no_query_and_no_set_member(
    cirr_tables: Callable[[str], Tables],
) -> None:
    (group,) = query_groups("cirr", "val", *cirr_tables("val"))
    assert (len(group), len(group.gallery)) == (4181, 2297)
    assert group.members is not None
    assert group.members.shape == (4181, 6)
    assert group.left_out == {}
    assert (group.gallery[group.excluded] == group.reference).all()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocols_name_stands_in_one_file_but_where_a_data_set_is_called_the_same(name: str) -> None:
    # As a data set's name: its own file, which also says what its test server takes.
    assert set(files_with(name)) - {f"datasets/{name}.py"} == {"retrieval/protocols.py"}


def test_settings_take_every_protocol_and_no_other() -> None:
    names = TypeAdapter(ProtocolName)
    assert names.json_schema()["enum"] == list(PROTOCOLS)
    with pytest.raises(ValueError, match="Input should be") as refused:
        names.validate_python("coco")
    assert all(f"'{name}'" in str(refused.value) for name in PROTOCOLS)
