"""A YAML that fits a catalogue: what was found is told, and nothing is asked of the triplets that they do not have."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from PIL import Image

from cir_assets.components.fitting import EPOCHS, STEPS, fit_catalogue, fit_wardrobe, recipe_for
from cir_assets.components.specification import DatasetSpec
from cir_assets.datasets.tables import BrokenAnnotations


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty pictures of one colour each."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(30):
        Image.new("RGB", (8, 8), (number * 8, 0, 0)).save(folder / f"{number}.png")
    return folder


def table(folder: Path, header: str, rows: int, cells: str = "{n}.png,{m}.png,is red") -> str:
    lines = [header, *(cells.format(n=2 * n, m=2 * n + 1) for n in range(rows))]
    (folder / "triplets.csv").write_text("\n".join(lines) + "\n")
    return str(folder / "triplets.csv")


def test_columns_splits_and_oddities_are_told_and_the_recipe_fits(pictures: Path, tmp_path: Path) -> None:
    fitted = fit_catalogue(str(pictures), table(tmp_path, "candidate,image,text", 15))
    told = "\n".join(fitted.told)
    assert "30 pictures found" in told
    assert "15 triplets found: 11 in train, 2 in val, 2 in test" in told
    for word, meaning in (("candidate", "reference"), ("image", "target"), ("text", "caption")):
        assert word in told
        assert meaning in told
    spec = DatasetSpec.model_validate(fitted.attributes)
    assert spec.protocols == ["fashioniq"]
    recipe = spec.recipes["small"]
    assert (recipe.text_encoder.batch_size, recipe.combiner.batch_size) == (8, 8)
    # What is written is what was fitted, and what was found stands above it.
    assert yaml.safe_load(fitted.yaml())["attributes"] == dict(fitted.attributes)
    assert fitted.yaml().startswith("# 30 pictures found.\n")


def test_where_every_query_has_look_alikes_they_are_judged_too(pictures: Path, tmp_path: Path) -> None:
    rows = "{n}.png,{m}.png,is red,{n}.png {m}.png"
    fitted = fit_catalogue(str(pictures), table(tmp_path, "reference,target,caption,members", 15, rows))
    assert fitted.attributes["protocols"] == ["cirr", "fashioniq"]


def test_pictures_alone_are_searched_without_training(pictures: Path) -> None:
    spec = DatasetSpec.model_validate(fit_catalogue(str(pictures)).attributes)
    assert list(spec.all_recipes) == ["zero_shot"]


@pytest.mark.parametrize("train", [0, 1, 2, 3, 100, 127, 128, 12_000, 1_000_000])
def test_a_batch_is_never_larger_than_train_nor_the_epochs_more_than_help(train: int) -> None:
    for stage, settings in recipe_for(train).items():
        assert 2 <= settings["batch_size"] <= max(train, 2)
        assert EPOCHS[0] <= settings["epochs"] <= EPOCHS[1]
        if train == 12_000:
            assert settings["epochs"] * train / settings["batch_size"] == pytest.approx(
                STEPS[stage], rel=0.15
            )


def test_what_is_not_there_or_does_not_read_is_said(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"source\.pictures .*nowhere is no folder"):
        fit_catalogue(str(tmp_path / "nowhere"))
    with pytest.raises(BrokenAnnotations, match="no column target"):
        fit_catalogue(str(pictures), table(tmp_path, "reference,caption,other", 3))


def test_the_embedded_data_set_is_written_for_who_has_none() -> None:
    spec = DatasetSpec.model_validate(fit_wardrobe().attributes)
    assert spec.source.kind == "wardrobe"
    assert spec.recipes["small"].text_encoder.batch_size == 128
