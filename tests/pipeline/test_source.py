"""What the root says of pictures: of every split, and at once where nothing could be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cir_assets.datasets.cirr import read_cirr
from tests.random_pictures import write_pictures
from tests.trial_project import TrialProject

ELSEWHERE = {"of_another": {"dataset": "wardrobe", "recipe": "small"}}


def check(result: dg.ExecuteInProcessResult) -> tuple[bool, str]:
    [told] = [each for each in result.get_asset_check_evaluations() if each.check_name == "pictures_present"]
    return told.passed, str(told.description)


@pytest.fixture
def source(real_data: Path, tmp_path: Path) -> dict[str, Any]:
    """The real annotations of CIRR, and pictures of val alone, as they come without NLVR2's train pictures."""
    train = real_data / "cirr-train" / "keywords_in_mods_cirr_train.json"
    paths = read_cirr(real_data / "cirr", train_captions=train).pictures["path"].to_list()
    write_pictures(tmp_path / "nlvr2", [path for path in paths if path.startswith("dev/")][:7])
    return {
        "kind": "cirr",
        "folder": str(real_data / "cirr"),
        "pictures": str(tmp_path / "nlvr2"),
        "train_captions": str(train),
    }


def test_a_train_split_without_a_picture_stops_at_the_root_and_is_told_by_its_numbers(
    project: TrialProject, instance: dg.DagsterInstance, source: dict[str, Any]
) -> None:
    project.write_dataset("cirr", source=source, protocols=["cirr"])
    result = project.materialize(instance, 'key:"cirr/raw" or key:"cirr/images"', raise_on_error=False)
    passed, told = check(result)
    assert not passed
    assert "none of train's 16,939, 7 of val's 2,297, none of test's 2,315" in told
    assert f"put those of train into {source['pictures']} (the first is train/" in told
    assert not result.success


def test_what_is_only_evaluated_needs_no_train_pictures(
    project: TrialProject, instance: dg.DagsterInstance, source: dict[str, Any]
) -> None:
    project.write_dataset("cirr", source=source, protocols=["cirr"], models_of=ELSEWHERE)
    project.write_dataset("wardrobe", source={"kind": "wardrobe"}, recipes={"small": {}})
    passed, told = check(project.materialize(instance, 'key:"cirr/raw"'))
    assert passed
    assert "none of train's 16,939, 7 of val's 2,297" in told
