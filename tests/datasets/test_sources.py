"""Settings of data sets, and one way in to all of them."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import TypeAdapter, ValidationError

from cir_assets import datasets
from cir_assets.components.dataset import Dataset, DatasetAttributes
from cir_assets.components.specification import DatasetSpec
from cir_assets.datasets.sources import KINDS, Source, one_of
from tests.datasets.conftest import triplet, write_fashioniq, write_json, write_picture
from tests.trial_project import TrialProject

SOURCES: TypeAdapter[Source] = TypeAdapter(Source)


def source(**settings: Any) -> Source:
    return SOURCES.validate_python(settings)


def test_every_setting_is_documented() -> None:
    models = SOURCES.json_schema()["$defs"]
    assert set(models) == {
        "WardrobeSource",
        "FashionIQSource",
        "FashionIQFetch",
        "CIRRSource",
        "CIRCOSource",
        "GeneCISSource",
        "ShoesSource",
        "Fashion200kSource",
        "LaSCoSource",
        "ICIRSource",
        "CatalogueSource",
    }
    for name, model in models.items():
        for field, schema in model["properties"].items():
            assert field == "kind" or schema.get("description"), f"{name}.{field} says nothing of itself"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "fashionqi", "folder": "x"}, "does not match any of the expected tags"),
        ({"kind": "fashioniq", "foldr": "x"}, "Extra inputs are not permitted"),
        ({"kind": "fashioniq"}, "name folder, where the data set lies, or fetch"),
        ({"kind": "fashioniq", "fetch": {"annotations": "x"}}, "name one of picture_lists"),
        ({"kind": "cirr"}, "Field required"),
        ({"kind": "wardrobe", "size": 999}, "greater than or equal to 1000"),
        ({"kind": "wardrobe", "size": "many"}, "valid integer"),
        ({"kind": "catalogue", "pictures": "x", "val_share": 0.5, "test_share": 0.5}, "nothing to train on"),
    ],
)
def test_a_wrong_setting_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        source(**settings)


def test_a_local_data_set_is_read_where_it_is(tmp_path: Path) -> None:
    write_fashioniq(tmp_path / "data", "hat", "val", ["A", "B"], [triplet("A", "B")])
    write_picture(tmp_path / "data" / "images" / "A.jpg")
    local = source(kind="fashioniq", folder=str(tmp_path / "data"))
    local.prepare(tmp_path / "raw")
    assert local.read(tmp_path / "raw").triplets.height == 1
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize(
    "kind", ["fashioniq", "cirr", "circo", "genecis", "shoes", "fashion200k", "lasco", "icir"]
)
def test_a_folder_that_is_not_there_is_named_with_what_it_must_hold(tmp_path: Path, kind: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"source\.folder .*absent is no folder: it must hold"):
        source(kind=kind, folder=str(tmp_path / "absent")).prepare(tmp_path)


def test_annotations_without_a_single_picture_are_refused(tmp_path: Path) -> None:
    write_fashioniq(tmp_path, "hat", "val", ["A", "B"], [triplet("A", "B")])
    with pytest.raises(FileNotFoundError, match="images is not there"):
        source(kind="fashioniq", folder=str(tmp_path)).prepare(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds none of the 2 pictures .* \(the first is A\.jpg\)"):
        source(kind="fashioniq", folder=str(tmp_path)).prepare(tmp_path)


def test_cirr_and_circo_are_read_through_the_same_door(tmp_path: Path) -> None:
    write_json(tmp_path / "image_splits" / "split.rc2.val.json", {"dev-1": "./dev/dev-1.png"})
    write_picture(tmp_path / "elsewhere" / "dev" / "dev-1.png")
    cirr = source(kind="cirr", folder=str(tmp_path), pictures=str(tmp_path / "elsewhere"))
    cirr.prepare(tmp_path)
    assert cirr.read(tmp_path).pictures["image"].to_list() == ["dev-1"]
    query = {"id": 0, "reference_img_id": 5, "relative_caption": "a dog", "shared_concept": "a dog"}
    write_json(tmp_path / "annotations" / "test.json", [query])
    write_picture(tmp_path / "unlabeled2017" / "000000000005.jpg")
    circo = source(kind="circo", folder=str(tmp_path))
    circo.prepare(tmp_path)
    assert circo.read(tmp_path).triplets["target"].to_list() == [None]


def test_settings_load_neither_torch_nor_tables() -> None:
    loaded = "import sys, cir_assets.datasets.sources; print('torch' in sys.modules, 'PIL' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]


def test_a_new_kind_of_data_set_is_one_file_and_one_line(
    project: TrialProject, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = (*KINDS, "tests.datasets.flags:FlagsSource")
    for flag, colour in (("red", (200, 0, 0)), ("blue", (0, 0, 200))):
        write_picture(tmp_path / "flags" / f"{flag}.png", colour)
    write_json(tmp_path / "flags" / "triplets.json", [{"from": "red", "to": "blue", "change": "is blue"}])

    class FlagsSpec(DatasetSpec):
        source: one_of(kinds)  # type: ignore[valid-type]

    class FlagsAttributes(DatasetAttributes):
        spec = FlagsSpec

    monkeypatch.setattr(Dataset, "get_model_cls", classmethod(lambda cls: FlagsAttributes))
    project.write_dataset("flags", source={"kind": "flags", "folder": str(tmp_path / "flags")})
    # One triplet has no val to be judged by, which is told at the table of triplets.
    project.materialize(
        instance, 'key:"flags/raw"', 'key:"flags/images"', 'key:"flags/triplets"', raise_on_error=False
    )
    assert project.entry("flags/triplets").detail["metadata"]["dagster/row_count"] == 1
    definitions = project.definitions()
    keys = {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}
    assert "flags/tiny_clip/quick/submission" in keys
    assert "flags_files" in {sensor.name for sensor in definitions.sensors or ()}
    with pytest.raises(ValidationError) as refused:
        FlagsSpec.model_validate({"source": {"kind": "flags", "fodler": "x"}, "backbones": ["tiny_clip"]})
    assert {error["loc"] for error in refused.value.errors()} == {("source", "folder"), ("source", "fodler")}


def test_every_kind_says_where_its_pictures_lie_without_reading_annotations(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for settings, root in (
        ({"kind": "wardrobe"}, raw / "images"),
        ({"kind": "fashioniq", "folder": "/data/f"}, Path("/data/f/images")),
        ({"kind": "fashioniq", "fetch": {"annotations": "x", "picture_lists": "y"}}, raw / "images"),
        ({"kind": "cirr", "folder": "/data/c"}, Path("/data/c")),
        ({"kind": "cirr", "folder": "/data/c", "pictures": "/data/n"}, Path("/data/n")),
        ({"kind": "circo", "folder": "/data/o"}, Path("/data/o/unlabeled2017")),
        ({"kind": "genecis", "folder": "/data/g"}, Path("/data/g/val2017")),
        ({"kind": "shoes", "folder": "/data/s"}, Path("/data/s")),
        ({"kind": "fashion200k", "folder": "/data/k", "pictures": "/data/w"}, Path("/data/w")),
        ({"kind": "lasco", "folder": "/data/l"}, Path("/data/l")),
        ({"kind": "icir", "folder": "/data/i"}, Path("/data/i")),
        ({"kind": "catalogue", "pictures": "/data/p"}, Path("/data/p")),
    ):
        assert source(**settings).picture_root(raw) == root


def test_no_modules_of_data_sets_import_each_other_in_a_circle() -> None:
    home = Path(datasets.__file__).parent
    modules = {
        ".".join(("cir_assets", "datasets", *file.relative_to(home).with_suffix("").parts)): file
        for file in home.rglob("*.py")
        if file.name != "__init__.py"
    }
    imports = {
        module: {
            node.module
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and node.module in modules
        }
        for module, file in modules.items()
    }
    list(TopologicalSorter(imports).static_order())
