"""FashionIQ's, CIRR's and CIRCO's real annotations run through the real graph, on pictures made for their ids."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest

from cir_assets.datasets.circo import read_circo
from cir_assets.datasets.cirr import read_cirr
from cir_assets.retrieval.methods import METHODS
from tests.models.families import write_family
from tests.random_pictures import write_pictures
from tests.trial_project import TrialProject, metadata_of

WARDROBE = {"kind": "wardrobe", "size": 1_000, "seed": 1}
OWN = {"text_encoder": {"learning_rate": 5.0e-4, "batch_size": 128, "epochs": 1}}
OWN |= {"combiner": {"learning_rate": 2.0e-4, "batch_size": 128, "epochs": 1}}
MISSING = 7


@pytest.fixture(scope="module")
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> TrialProject:
    made = TrialProject(tmp_path_factory.mktemp("real") / "project")
    # Ten thousand pictures: a network of two layers is enough to be encoded by.
    weights = write_family("clip", made.folder / "small")
    made.write_backbones({"small": {"kind": "folder", "place": str(weights)}})
    return made


@pytest.fixture(scope="module")
def trained(project: TrialProject, instance: dg.DagsterInstance) -> TrialProject:
    """The wardrobe, whose models are evaluated on everything else."""
    project.write_dataset("wardrobe", source=WARDROBE, backbones=["small"], recipes={"quick": OWN})
    assert project.materialize(instance, 'key:"wardrobe/*"').success
    return project


def published(project: TrialProject, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(project.storage.evaluation), read_only=True) as connection:
        return connection.sql(query).fetchall()


def write_dress(real_data: Path, folder: Path) -> list[str]:
    """FashionIQ's complete val annotations of dresses, 600 train triplets, and pictures but for a few."""
    source = real_data / "fashion-iq"
    for part in ("captions", "image_splits"):
        (folder / part).mkdir(parents=True)
    for name in ("captions/cap.dress.val.json", "image_splits/split.dress.val.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    train = json.loads((source / "captions" / "cap.dress.train.json").read_text())[:600]
    used = sorted({row[role] for row in train for role in ("candidate", "target")})
    (folder / "captions" / "cap.dress.train.json").write_text(json.dumps(train))
    (folder / "image_splits" / "split.dress.train.json").write_text(json.dumps(used))
    gallery = json.loads((source / "image_splits" / "split.dress.val.json").read_text())
    val = json.loads((source / "captions" / "cap.dress.val.json").read_text())
    asked = {row[role] for row in val for role in ("candidate", "target")}
    unasked = [image for image in gallery if image not in asked]
    absent = [*unasked[: MISSING - 1], val[0]["target"]]
    write_pictures(
        folder / "images", (f"{image}.jpg" for image in [*gallery, *used] if image not in set(absent))
    )
    return absent


def test_all_of_fashioniqs_dresses_of_val_run_through_the_whole_graph(
    project: TrialProject, instance: dg.DagsterInstance, real_data: Path, tmp_path: Path
) -> None:
    absent = write_dress(real_data, tmp_path / "fashion-iq")
    project.write_dataset(
        "fashioniq",
        source={"kind": "fashioniq", "folder": str(tmp_path / "fashion-iq")},
        protocols=["fashioniq", "fashioniq_val_split"],
        backbones=["small"],
        recipes={"own": OWN},
    )
    result = project.materialize(instance, 'key:"fashioniq/*"', 'key:"leaderboard"')
    assert result.success
    lost = published(project, "SELECT count(*) FROM triplets WHERE split = 'val' AND dataset = 'fashioniq'")
    gone = published(
        project,
        "SELECT image, in_gallery, as_target, triplets_lost FROM missing_pictures WHERE split = 'val' ORDER BY 1",
    )
    assert [row[0] for row in gone] == sorted(absent)
    assert all(row[1] for row in gone)
    asked_about = [row for row in gone if row[3]]
    assert [row[0] for row in asked_about] == [absent[-1]]
    queries = 2_017 - int(str(asked_about[0][3]))
    assert lost == [(queries,)]
    sizes = published(
        project,
        "SELECT DISTINCT protocol, e.queries, m.gallery_size FROM metrics AS m JOIN evaluations AS e "
        "USING (evaluation_id) WHERE dataset = 'fashioniq' AND category = 'dress' ORDER BY 1",
    )
    assert sizes[0] == ("fashioniq", queries, 3_817 - MISSING)
    assert sizes[1][:2] == ("fashioniq_val_split", queries)
    # References of fallen triplets may leave the smaller gallery, which is made of references and targets.
    assert 2_628 - 3 <= int(str(sizes[1][2])) <= 2_628 - 1
    assert metadata_of(result, "fashioniq/images")["missing_pictures"] == MISSING
    beside = published(
        project,
        "SELECT count(*), min(published) FROM against_published WHERE protocol = 'fashioniq' AND category = 'dress'",
    )
    assert int(str(beside[0][0])) > 0
    of_the_same_protocol = (
        "system IN (SELECT system FROM published_results WHERE protocol = 'fashioniq_val_split')"
    )
    assert published(
        project,
        f"SELECT count(*) > 0, bool_and({of_the_same_protocol}) FROM against_published "
        "WHERE protocol = 'fashioniq_val_split'",
    ) == [(True, True)]


def test_cirrs_val_and_test_are_evaluated_and_submitted_with_models_of_another_data_set(
    trained: TrialProject, instance: dg.DagsterInstance, real_data: Path, tmp_path: Path
) -> None:
    source = real_data / "cirr"
    folder = tmp_path / "cirr"
    for part in ("captions", "image_splits"):
        (folder / part).mkdir(parents=True)
        for file in (source / part).iterdir():
            if "train" not in file.name:
                (folder / part / file.name).write_bytes(file.read_bytes())
    write_pictures(folder / "img_raw", read_cirr(folder).pictures["path"])
    trained.write_dataset(
        "cirr",
        source={"kind": "cirr", "folder": str(folder)},
        protocols=["cirr"],
        backbones=["small"],
        models_of={"of_the_wardrobe": {"dataset": "wardrobe", "recipe": "quick"}},
    )
    result = trained.materialize(instance, 'key:"cirr/*"', 'key:"leaderboard"')
    assert result.success
    rows = published(
        trained,
        "SELECT DISTINCT split, queries, gallery_size, models_from FROM evaluations WHERE dataset = 'cirr'",
    )
    assert rows == [("val", 4_181, 2_297, "wardrobe/small/quick")]
    methods = published(
        trained,
        "SELECT count(DISTINCT method), min(subset_recall_at_3) FROM leaderboard WHERE dataset = 'cirr'",
    )
    assert methods[0][0] == len(METHODS)
    # Random pictures and captions that were never seen: the target among five is in the first three by chance.
    assert 45 <= float(str(methods[0][1])) <= 75
    folder = Path(str(metadata_of(result, "cirr/small/of_the_wardrobe/submission")["folder"]))
    subset = json.loads((folder / "cirr_recall_subset.json").read_text())
    recall = json.loads((folder / "cirr_recall.json").read_text())
    example = json.loads((source / "demo_files" / "test1_pred_ranks_recall_subset.json").read_text())
    assert subset.keys() == example.keys() == recall.keys()
    assert {key: subset[key] for key in ("version", "metric")} == {
        key: example[key] for key in ("version", "metric")
    }
    names = set(json.loads((source / "image_splits" / "split.rc2.test1.json").read_text()))
    for key in example.keys() - {"version", "metric"}:
        assert len(subset[key]) == len(example[key]) == 3
        assert set(recall[key]) <= names
        assert len(set(recall[key])) == 50
    assert (folder / "cirr_recall.json").stat().st_size < 5_000_000


def test_circo_is_a_test_bed_for_models_of_another_data_set(
    trained: TrialProject, instance: dg.DagsterInstance, real_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "circo"
    (folder / "annotations").mkdir(parents=True)
    for name in ("val.json", "test.json"):
        (folder / "annotations" / name).write_bytes((real_data / "circo" / "annotations" / name).read_bytes())
    paths = read_circo(folder).pictures["path"]
    write_pictures(folder / "unlabeled2017", paths)
    trained.write_dataset(
        "circo",
        source={"kind": "circo", "folder": str(folder)},
        protocols=["circo"],
        backbones=["small"],
        models_of={"of_the_wardrobe": {"dataset": "wardrobe", "recipe": "quick"}},
    )
    result = trained.materialize(instance, 'key:"circo/*"', 'key:"leaderboard"')
    assert result.success
    figures = published(
        trained,
        "SELECT metric, k, m.queries, m.gallery_size FROM metrics AS m JOIN evaluations USING (evaluation_id) "
        "WHERE dataset = 'circo' AND method = 'combiner' AND category = 'mean' AND metric LIKE 'mean_av%' ORDER BY k",
    )
    assert figures == [("mean_average_precision", k, 220, len(paths)) for k in (5, 10, 25, 50)]
    folder = Path(str(metadata_of(result, "circo/small/of_the_wardrobe/submission")["folder"]))
    document = json.loads((folder / "circo_test.json").read_text())
    example = json.loads((real_data / "circo" / "submission_examples" / "submission_test.json").read_text())
    assert document.keys() == example.keys()
    assert all(len(found) == 50 and isinstance(found[0], int) for found in document.values())


def test_the_sheet_of_a_data_set_evaluated_elsewhere_is_written_too(trained: TrialProject) -> None:
    page = trained.storage.report("cirr", "small", "of_the_wardrobe") / "index.html"
    assert page.is_file()
    assert "Combiner" in page.read_text(encoding="utf-8")


def test_a_second_run_encodes_and_evaluates_nothing_anew(
    trained: TrialProject, instance: dg.DagsterInstance
) -> None:
    result = trained.materialize(instance, 'key:"circo/*"')
    for step in ("image_features", "of_the_wardrobe/evaluation", "of_the_wardrobe/submission"):
        assert metadata_of(result, f"circo/small/{step}")["reused"] is True
    issues = pl.read_parquet(trained.storage.tables("circo") / "missing_pictures.parquet")
    assert issues.is_empty()
