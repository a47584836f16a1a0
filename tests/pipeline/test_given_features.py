"""Features go out as a file and come in under another data set, which has no picture: its recalls are the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from cir_assets.command_line import main
from cir_assets.components.graph import pipelines_of
from cir_assets.components.specification import DatasetSpec
from cir_assets.models.settings import BackboneSettings, ZeroShot
from cir_assets.pipeline.encoding import image_features_step
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.inputs import load_backbone, load_inputs, picture_files
from cir_assets.pipeline.queries import method_queries
from cir_assets.pipeline.source import raw_step
from cir_assets.pipeline.step import Work, run
from cir_assets.pipeline.tables import images_step, triplets_step
from cir_assets.retrieval.evaluation import evaluate
from cir_assets.retrieval.ranking import unit_length
from cir_assets.store.feature_files import BrokenFeatures, read_features, write_features
from cir_assets.store.layout import Storage
from cir_assets.store.made import Made, NotMade
from tests.datasets.conftest import triplet, write_fashioniq, write_picture

IMAGES = [f"P{number:02d}" for number in range(24)]
METHODS = ("image_only", "text_only", "sum")


def pipeline(name: str, **source: Any) -> Pipeline:
    stage = {"batch_size": 4, "epochs": 1}
    spec = DatasetSpec.model_validate(
        {
            "source": source,
            "backbones": ["tiny_clip"],
            "recipes": {"quick": {"text_encoder": stage, "combiner": stage}},
            "device": "cpu",
            "decoding_workers": 0,
        }
    )
    return pipelines_of(name, spec, {"tiny_clip": BackboneSettings(kind="embedded", place="tiny_clip")})[0]


def made(work: Work, asked: Pipeline) -> dict[str, Made]:
    data = asked.data
    steps = (raw_step(data), images_step(data), triplets_step(data), image_features_step(asked.encoded))
    return {step.name: run(step, work)[0] for step in steps}


def recalls(work: Work, asked: Pipeline) -> pl.DataFrame:
    backbone = load_backbone(work, asked.encoded)
    inputs = load_inputs(work, asked.encoded, backbone)
    groups = {("val", "fashioniq"): inputs.query_groups("fashioniq", "val")}
    # What needs no training tells as much: the features are the same or they are not.
    untrained = replace(asked, recipe=ZeroShot())
    ladder = method_queries(work, untrained, backbone, inputs, groups, METHODS)
    unit = unit_length(inputs.features)
    return pl.concat(
        evaluate("fashioniq", asked_by.groups, asked_by.queries, unit).metrics.with_columns(
            method=pl.lit(asked_by.method)
        )
        for asked_by in ladder
    )


Exported = tuple[Path, Path, Path]
"""The storage folder, annotations without a picture, and the features of the data set that has them."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("features")
    shown, bare, file = folder / "shown", folder / "bare", folder / "shown.parquet"
    for split, images in (("train", IMAGES[:8]), ("val", IMAGES[8:])):
        asked = [triplet(images[n], images[n + 1], ["is red", "is longer"]) for n in range(len(images) - 1)]
        write_fashioniq(shown, "hat", split, images, asked)
    shutil.copytree(shown, bare)
    for number, image in enumerate(IMAGES):
        write_picture(shown / "images" / f"{image}.png", (10 * number, 255 - 9 * number, 37 * number % 256))
    storage = folder / "storage"
    made(Work(Storage(storage), say=lambda _: None), pipeline("shown", kind="fashioniq", folder=str(shown)))
    command = ["features", "export", "shown", "--backbone", "tiny_clip", "--out", str(file)]
    told = CliRunner().invoke(main, command, env={"DAGSTER_HOME": str(storage)})
    assert told.output == f"features of 24 pictures: {file}\n"
    return storage, bare, file


@pytest.fixture
def work(exported: Exported) -> Work:
    return Work(Storage(exported[0]), say=lambda _: None)


def test_a_file_tells_ids_keys_preprocessing_weights_and_features(exported: Exported) -> None:
    table = pl.read_parquet(exported[2])
    assert table.columns == ["image", "image_key", "preprocessing", "backbone", "feature"]
    assert table["image"].to_list() == IMAGES
    assert table["image_key"].str.len_chars().unique().to_list() == [64]
    assert table["preprocessing"].unique().to_list() == ["targetpad1.25@64"]


@pytest.mark.parametrize("name", ["bare.parquet", "bare.safetensors"])
def test_the_same_recalls_without_a_picture(
    exported: Exported, work: Work, tmp_path: Path, name: str
) -> None:
    _, bare, file = exported
    write_features(tmp_path / name, read_features(file))
    asked = pipeline(
        f"of_{Path(name).suffix[1:]}", kind="fashioniq", folder=str(bare), features=[str(tmp_path / name)]
    )
    steps = made(work, asked)
    assert steps[asked.data.name("images")].metadata["dagster/row_count"] == 24
    features = steps[asked.encoded.name("image_features")]
    assert (features.metadata["taken_from_files"], features.metadata["encoded"]) == (24, 0)
    assert all(check.passed for step in steps.values() for check in step.checks.values())
    with_pictures = recalls(work, pipeline("shown", kind="fashioniq", folder=str(bare.with_name("shown"))))
    assert recalls(work, asked).equals(with_pictures)


def test_a_catalogue_is_known_by_its_features_alone(exported: Exported, work: Work, tmp_path: Path) -> None:
    pictures, table = tmp_path / "pictures", tmp_path / "table.csv"
    pictures.mkdir()
    rows = [f"{IMAGES[n]},{IMAGES[n + 1]},is red,{'val' if n > 8 else 'train'}" for n in range(20)]
    table.write_text("\n".join(["reference,target,caption,split", *rows]))
    source = {"kind": "catalogue", "pictures": str(pictures), "triplets": str(table), "reading": "reference"}
    asked = pipeline("bare_catalogue", **source, features=[str(exported[2])])
    steps = made(work, asked)
    assert steps[asked.encoded.name("image_features")].metadata["taken_from_files"] == 24
    assert steps[asked.data.name("triplets")].metadata["dagster/row_count"] == 20


def test_a_picture_that_is_another_is_encoded_and_not_taken(
    exported: Exported, work: Work, tmp_path: Path
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(exported[1].with_name("shown"), changed)
    write_picture(changed / "images" / f"{IMAGES[3]}.png", (1, 2, 3))
    asked = pipeline("changed", kind="fashioniq", folder=str(changed), features=[str(exported[2])])
    features = made(work, asked)[asked.encoded.name("image_features")]
    assert (features.metadata["taken_from_files"], features.metadata["encoded"]) == (23, 1)


def test_pictures_in_no_file_are_missing_as_ever(exported: Exported, work: Work, tmp_path: Path) -> None:
    held, part = read_features(exported[2]), tmp_path / "part.parquet"
    write_features(
        part,
        replace(held, images=held.images[:20], image_keys=held.image_keys[:20], features=held.features[:20]),
    )
    asked = pipeline("part", kind="fashioniq", folder=str(exported[1]), features=[str(part)])
    images = made(work, asked)[asked.data.name("images")]
    assert (images.metadata["dagster/row_count"], images.metadata["missing_pictures"]) == (20, 4)


def test_an_image_encoder_cannot_be_trained_on_features_alone(exported: Exported, work: Work) -> None:
    asked = pipeline("untrainable", kind="fashioniq", folder=str(exported[1]), features=[str(exported[2])])
    made(work, asked)
    inputs = load_inputs(work, asked.encoded, load_backbone(work, asked.encoded))
    with pytest.raises(NotMade, match=r"24 of 24 pictures of untrainable are known by given features alone"):
        picture_files(work, asked.encoded, inputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda held: replace(held, backbone="b0"),
            "holds features of weights b0, and backbones/tiny_clip is",
        ),
        (
            lambda held: replace(held, preprocessing="clip@224"),
            "prepared as clip@224, here they are as targetpad1.25@64",
        ),
        (
            lambda held: replace(held, features=held.features[:, :7]),
            "features have 7 dimensions, those of this backbone",
        ),
        (
            lambda held: replace(held, features=held.features[::-1] * 2),
            "holds another feature of P00 than .* differ",
        ),
    ],
)
def test_features_that_do_not_fit_are_refused_and_nothing_is_taken(
    exported: Exported, work: Work, tmp_path: Path, change: Callable[[Any], Any], message: str
) -> None:
    file = tmp_path / "given.parquet"
    write_features(file, read_features(exported[2]))
    # A data set of its own a case: the storage folder is shared.
    asked = pipeline(
        f"refused_{len(message)}", kind="fashioniq", folder=str(exported[1]), features=[str(file)]
    )
    if "another feature" in message:
        made(work, asked)
    before = kept(work, asked)
    write_features(file, change(read_features(exported[2])))
    with pytest.raises(BrokenFeatures, match=message):
        made(work, asked)
    assert kept(work, asked) == before


def kept(work: Work, asked: Pipeline) -> bytes | None:
    cache = work.storage.features(asked.data.dataset, asked.encoded.backbone)
    return np.asarray(cache.read_bytes()).tobytes() if cache.is_file() else None


def test_what_was_never_made_cannot_be_exported(exported: Exported) -> None:
    command = ["features", "export", "absent", "--backbone", "tiny_clip", "--out", "f.parquet"]
    told = CliRunner().invoke(main, command, env={"DAGSTER_HOME": str(exported[0])})
    assert told.exit_code == 1
    assert "absent/tiny_clip/image_features was never made" in told.output
