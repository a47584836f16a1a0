"""What must be known of a backbone is known without its weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cir_assets.models.files import BrokenModel
from cir_assets.models.installation import EMBEDDED
from cir_assets.models.shape import backbone_shape
from cir_assets.pictures.preparing import CLIP_MEAN


def test_the_embedded_backbone_tells_its_shape_by_its_configuration() -> None:
    shape = backbone_shape(EMBEDDED / "tiny_clip")
    assert (shape.library, shape.family) == ("transformers", "clip")
    assert (shape.resolution, shape.feature_dimension, shape.mean) == (64, 128, CLIP_MEAN)


def open_clip(folder: Path, **preparation: object) -> Path:
    model = {"embed_dim": 640, "vision_cfg": {"image_size": [288, 288]}}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model, "preprocess_cfg": preparation})
    )
    return folder


def test_a_folder_of_open_clip_tells_size_and_colours(tmp_path: Path) -> None:
    shape = backbone_shape(open_clip(tmp_path, mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5]))
    assert (shape.library, shape.resolution, shape.feature_dimension) == ("open_clip", 288, 640)
    assert shape.mean == shape.deviation == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("deviation", [[0.5, 0.5, 0.0], [0.5, 0.5, float("nan")], [0.5, 0.5]])
def test_colours_that_could_not_be_divided_by_are_refused(tmp_path: Path, deviation: list[float]) -> None:
    with pytest.raises(BrokenModel, match="does not describe a dual encoder"):
        backbone_shape(open_clip(tmp_path, std=deviation))


def test_a_family_nobody_knows_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(BrokenModel, match="holds no model: it lacks"):
        backbone_shape(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(BrokenModel, match=r"model_type is 'bert', expected one of .*siglip"):
        backbone_shape(tmp_path)
