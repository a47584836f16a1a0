"""What the test servers take, against the reference's own files and the official examples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cir_assets.retrieval.protocols import QueryGroup, query_groups
from cir_assets.retrieval.ranking import unit_length
from cir_assets.retrieval.submissions import (
    CIRRSubmission,
    circo_submission,
    cirr_submission,
    document_bytes,
)
from tests.retrieval.conftest import Tables, gallery_table, triplet_table


@pytest.fixture(scope="module")
def case(parity: Path) -> dict[str, Any]:
    """Read what the reference was given and what it wrote."""
    found: dict[str, Any] = json.loads((parity / "cirr_submission/case.json").read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def submission(
    case: dict[str, Any], cirr_tables: Callable[[str], Tables], drawn: Callable[[dict[str, Any]], Tensor]
) -> CIRRSubmission:
    """Rank CIRR's real test1 queries on the parity case's features."""
    images, galleries, triplets = cirr_tables("test1")
    (group,) = query_groups("cirr", "test", images, galleries, triplets, with_targets=False)
    gallery = drawn(case["gallery"])
    text = float(np.float32(case["sigma"])) * drawn(case["noise"])
    queries = unit_length(gallery[torch.from_numpy(group.reference)] + text)
    return cirr_submission([group], queries, unit_length(gallery), images)


def test_the_first_sixty_lists_of_both_files_equal_the_references(
    submission: CIRRSubmission, case: dict[str, Any], parity: Path
) -> None:
    for name, document in (("recall", submission.recall), ("recall_subset", submission.recall_subset)):
        expected = json.loads((parity / f"cirr_submission/{name}_submission_first60.json").read_text("utf-8"))
        assert len(expected) == 62
        assert {key: document[key] for key in expected} == expected
        assert len(document) == case["full_files"][name]["keys"]


def test_the_files_have_the_references_form_to_the_byte(
    submission: CIRRSubmission, case: dict[str, Any], parity: Path
) -> None:
    subset = document_bytes(submission.recall_subset)
    assert len(subset) == case["full_files"]["recall_subset"]["bytes"]
    assert hashlib.sha256(subset).hexdigest() == case["full_files"]["recall_subset"]["sha256"]
    recall = document_bytes(submission.recall)
    # Two of its lists hold near ties that a float32 sort orders either way, so its hash is not asked for.
    assert recall[:60].decode() == case["full_files"]["recall"]["first_60_characters"]
    assert len(recall) < 5_000_000
    assert not recall.endswith(b"\n")
    first = (parity / "cirr_submission/recall_submission_first60.json").read_bytes()
    keys = json.loads(first)
    assert document_bytes({key: submission.recall[key] for key in keys}) == first


def test_the_subset_file_has_the_official_examples_shape(submission: CIRRSubmission, real_data: Path) -> None:
    example = json.loads(
        (real_data / "cirr/demo_files/test1_pred_ranks_recall_subset.json").read_text("utf-8")
    )
    rows = json.loads((real_data / "cirr/captions/cap.rc2.test1.json").read_text("utf-8"))
    sets = {str(row["pairid"]): set(row["img_set"]["members"]) - {row["reference"]} for row in rows}
    written = submission.recall_subset
    assert written.keys() == example.keys()
    assert (written["version"], written["metric"]) == (example["version"], example["metric"])
    for pair, members in sets.items():
        assert len(written[pair]) == len(set(written[pair])) == len(example[pair]) == 3
        assert set(written[pair]) <= members
        assert set(example[pair]) <= members


def test_no_list_holds_its_own_reference_or_a_name_twice(
    submission: CIRRSubmission, cirr_tables: Callable[[str], Tables]
) -> None:
    _, _, triplets = cirr_tables("test1")
    assert triplets.height == 4148
    for pair, reference in triplets.select("triplet_id", "reference").iter_rows():
        names = submission.recall[pair]
        assert len(names) == len(set(names)) == 50
        assert reference not in names


def small_group(size: int = 60) -> tuple[QueryGroup, Tensor, list[str]]:
    """Two queries over a drawn gallery; names as CIRR's."""
    features = unit_length(torch.randn(size, 8, generator=torch.Generator().manual_seed(2)))
    group = QueryGroup(
        category="all",
        gallery=np.arange(size),
        reference=np.array([0, 1]),
        target=np.array([-1, -1]),
        excluded=np.array([0, 1]),
        members=np.array([[0, 2, 3, 4, 5, 6], [1, 7, 8, 9, 10, 11]]),
        captions=["a", "b"],
        query_ids=["12", "7"],
    )
    return group, features, [f"test1-{row}-0-img0" for row in range(size)]


def test_what_the_server_would_refuse_is_refused_before() -> None:
    group, features, names = small_group()
    queries = features[:2]
    incomplete = replace(group, left_out={"reference_without_feature": 4})
    with pytest.raises(ValueError, match="reference_without_feature 4"):
        cirr_submission([incomplete], queries, features, names)
    with pytest.raises(ValueError, match=r"'dev/a.png' must be a bare name"):
        cirr_submission([group], queries, features, ["dev/a.png", *names[1:]])
    with pytest.raises(ValueError, match="query id 'dress-1' must be a decimal number"):
        cirr_submission([replace(group, query_ids=["dress-1", "7"])], queries, features, names)
    with pytest.raises(ValueError, match="hold 2 queries, got 1"):
        cirr_submission([group], queries[:1], features, names)
    with pytest.raises(ValueError, match="needs image sets"):
        cirr_submission([replace(group, members=None)], queries, features, names)
    small, few, few_names = small_group(size=40)
    with pytest.raises(ValueError, match="query 12 has 39 candidates; the server wants 50"):
        cirr_submission([small], few[:2], few, few_names)


def test_circos_document_has_the_official_examples_shape(real_data: Path) -> None:
    annotations = json.loads((real_data / "circo/annotations/test.json").read_text("utf-8"))
    example = json.loads((real_data / "circo/submission_examples/submission_test.json").read_text("utf-8"))
    used = {image for images in example.values() for image in images}
    images = [
        f"{image:012d}" for image in sorted(used | {query["reference_img_id"] for query in annotations})
    ]
    triplets = triplet_table(
        [
            {
                "triplet_id": str(query["id"]),
                "split": "test",
                "reference": f"{query['reference_img_id']:012d}",
                "captions": [query["relative_caption"]],
            }
            for query in annotations
        ]
    )
    galleries = gallery_table("test", "all", images)
    groups = query_groups("circo", "test", images, galleries, triplets, with_targets=False)
    features = unit_length(torch.randn(len(images), 16, generator=torch.Generator().manual_seed(5)))
    queries = unit_length(torch.randn(800, 16, generator=torch.Generator().manual_seed(6)))
    document = circo_submission(groups, queries, features, images)
    assert list(document) == list(example)
    for written, given in zip(document.values(), example.values(), strict=True):
        assert len(set(written)) == len(given) == 50
        assert {type(image) for image in written} == {type(image) for image in given} == {int}
    best = int((queries[3] @ features.T).argmax())
    assert document["3"][0] == int(images[best])
