"""What training and the protocols lack is told at ``triplets``, with the mend, before anything is trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from tests.random_pictures import write_pictures
from tests.trial_project import QUICK_RECIPE, TrialProject

WHOLE = ("shop/raw", "shop/images", "shop/triplets", "shop/tiny_clip/image_features")
SPLITS = ("train",) * 16 + ("val",) * 4 + ("test",) * 4
SMALL = {stage: {**settings, "batch_size": 16} for stage, settings in QUICK_RECIPE.items()}


class Catalogue:
    """Twenty-four pictures, each the answer to a query that shows the one before."""

    def __init__(self, project: TrialProject, instance: dg.DagsterInstance, folder: Path) -> None:
        self.project, self.instance = project, instance
        self.pictures, self.table = folder / "pictures", folder / "triplets.csv"
        self.names = [f"p{number:02d}.jpg" for number in range(len(SPLITS))]
        write_pictures(self.pictures, self.names)

    def write(
        self, *columns: str, only: tuple[str, ...] = SPLITS, targets: bool = True, **attributes: Any
    ) -> None:
        """The table, with more ``columns`` whose cells are the reference's name, and the YAML."""
        rows = [",".join(("reference", "target", "caption", "split", *columns))]
        for number, (name, split) in enumerate(zip(self.names, SPLITS, strict=True)):
            if split in only:
                target = self.names[number - 1] if targets or split == "train" else ""
                rows.append(",".join((name, target, f"is red {number}", split, *(name for _ in columns))))
        self.table.write_text("\n".join(rows) + "\n")
        source = {"kind": "catalogue", "pictures": str(self.pictures), "triplets": str(self.table)}
        self.project.write_dataset("shop", **{"source": source, "recipes": {"quick": SMALL}, **attributes})

    def run(self, *selection: str) -> tuple[set[str], dict[str, tuple[bool, str]]]:
        """One run: what was made, and what the checks of ``triplets`` said."""
        result = self.project.materialize(self.instance, *selection, raise_on_error=False)
        made = {
            event.asset_key.to_user_string()
            for event in result.all_events
            if event.is_step_materialization and event.asset_key is not None
        }
        said = {
            each.check_name: (each.passed, str(each.description))
            for each in result.get_asset_check_evaluations()
            if each.asset_key.path[-1] == "triplets"
        }
        return made, said


@pytest.fixture
def catalogue(project: TrialProject, instance: dg.DagsterInstance, tmp_path: Path) -> Catalogue:
    return Catalogue(project, instance, tmp_path)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            {"only": ("train", "test")},
            "split 'val' has no gallery; add rows of split val, or leave the column split out",
        ),
        (
            {"only": ("val", "test")},
            "split 'train' has no triplet with a target to train on; add rows of split train",
        ),
        ({"targets": False}, "split 'val' has no public targets; name a target in its rows"),
        (
            {"protocols": ["fashioniq", "cirr"]},
            "which cirr ranks the target in; add a column set or members, or leave cirr out of protocols",
        ),
        ({"protocols": ["circo"]}, "circo is for several: leave circo out of protocols"),
    ],
    ids=["no val", "no train", "no targets", "no sets", "no further targets"],
)
def test_what_is_lacking_blocks_at_triplets_with_the_mend(
    catalogue: Catalogue, table: dict[str, Any], told: str
) -> None:
    catalogue.write(**table)
    made, said = catalogue.run('key:"shop/*"')
    passed, description = said["protocols_applicable"]
    assert not passed
    assert told in description
    assert made == set(WHOLE)


def test_a_data_set_without_a_table_that_is_to_be_trained_on_is_told_too(catalogue: Catalogue) -> None:
    catalogue.write(source={"kind": "catalogue", "pictures": str(catalogue.pictures)})
    made, said = catalogue.run('key:"shop/*"')
    assert "there are no triplets: give a table of them, or leave recipes" in said["protocols_applicable"][1]
    assert made == set(WHOLE)


def test_what_is_only_searched_lacks_nothing(catalogue: Catalogue) -> None:
    catalogue.write(source={"kind": "catalogue", "pictures": str(catalogue.pictures)}, recipes={})
    made, said = catalogue.run('key:"shop/*"')
    assert said["protocols_applicable"] == (True, "nothing is trained or evaluated here")
    assert "shop/tiny_clip/zero_shot/search" in made


def test_sets_that_never_hold_the_target_are_told_by_their_number(catalogue: Catalogue) -> None:
    catalogue.write("members", protocols=["cirr"])
    _, said = catalogue.run('key:"shop/raw"', 'key:"shop/images"', 'key:"shop/triplets"')
    passed, description = said["protocols_applicable"]
    assert not passed
    assert "no query of split 'val' is left under protocol 'cirr' (target_outside_image_set 4)" in description


def test_a_protocol_taken_out_of_the_yaml_is_seen_when_triplets_are_made_again(catalogue: Catalogue) -> None:
    steps = ('key:"shop/raw"', 'key:"shop/images"', 'key:"shop/triplets"')
    catalogue.write(protocols=["fashioniq", "cirr"])
    _, said = catalogue.run(*steps)
    assert said["protocols_applicable"][1].endswith("materialize shop/triplets again")
    version = catalogue.project.entry("shop/triplets").data_version
    catalogue.write(protocols=["fashioniq"])
    _, said = catalogue.run('key:"shop/triplets"')
    assert said["protocols_applicable"] == (True, "val, test can be ranked by fashioniq")
    assert catalogue.project.entry("shop/triplets").data_version == version


@pytest.mark.parametrize("stage", ["text_encoder", "combiner"])
def test_a_batch_larger_than_the_train_split_is_told_and_trains_no_other_stage_in_vain(
    catalogue: Catalogue, stage: str
) -> None:
    recipes = {"quick": SMALL, "large": {**SMALL, stage: {**SMALL[stage], "batch_size": 17}}}
    catalogue.write(recipes=recipes)
    made, said = catalogue.run('key:"shop/*"')
    assert said["protocols_applicable"][0]
    assert said["batches_filled"] == (
        False,
        f"train has 16 triplets and fills no batch where large.{stage} has batch_size 17: set each to at most 16, "
        "or add triplets",
    )
    assert "shop/tiny_clip/quick/text_encoder" in made
    assert "shop/tiny_clip/large/text_encoder" not in made


def test_one_picture_under_many_names_is_published_with_how_many_are_targets(catalogue: Catalogue) -> None:
    for name in catalogue.names[1:5]:
        shutil.copyfile(catalogue.pictures / catalogue.names[0], catalogue.pictures / name)
    stages = {stage: {**settings, "batch_size": 4, "epochs": 6} for stage, settings in SMALL.items()}
    catalogue.write(recipes={"quick": stages})
    catalogue.run('key:"shop/*"', 'key:"leaderboard"')
    with duckdb.connect(str(catalogue.project.storage.evaluation), read_only=True) as published:
        rows = published.sql("SELECT subject, detail FROM data_issues WHERE kind = 'same_picture'").fetchall()
    told = "one picture stands under 5 names, 5 of them targets: p00.jpg, p01.jpg, p02.jpg, …"
    assert rows == [("p00.jpg", told)]
