"""Templates stand wherever a YAML has a value; post-processing and requirements are Dagster's own and work as there."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.list import list_all_components_schema
from jsonschema import Draft202012Validator

from cir_assets.components import Backbones, Dataset
from cir_assets.components.loading import explained
from tests.trial_project import TrialProject

TEMPLATED: dict[str, Any] = {
    "source": {"kind": "wardrobe", "size": "{{ env.SIZE }}", "seed": 7},
    "backbones": ["{{ env.BACKBONE }}"],
    "device": "{{ env.DEVICE }}",
    "owners": ["team:{{ env.TEAM }}"],
    "recipes": {
        "quick": {
            "text_encoder": {"learning_rate": "{{ env.RATE }}", "mask_duplicate_targets": "{{ env.MASK }}"}
        }
    },
    "schedule": {"cron": "0 3 * * 1", "timezone": "{{ env.ZONE }}"},
}
ENVIRONMENT = {
    "SIZE": "1500",
    "BACKBONE": "tiny_clip",
    "DEVICE": "cpu",
    "TEAM": "0042",
    "RATE": "1e-4",
    "MASK": "true",
    "ZONE": "Europe/Rome",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def component(project: TrialProject) -> Dataset:
    with project.importable():
        tree = dg.ComponentTree.for_project(project.folder)
        [found] = tree.get_all_components(of_type=Dataset)
    return found


@pytest.mark.usefixtures("environment")
def test_numbers_truths_words_and_parts_of_words_are_filled_in(project: TrialProject) -> None:
    project.write_dataset("wardrobe", **TEMPLATED)
    spec = component(project).spec
    assert spec.source.model_dump()["size"] == 1500
    assert spec.backbones == ["tiny_clip"]
    assert spec.owners == ["team:0042"]
    stage = spec.recipes["quick"].text_encoder
    assert (stage.learning_rate, stage.mask_duplicate_targets) == (1e-4, True)
    assert spec.schedule is not None
    assert spec.schedule.timezone == "Europe/Rome"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SIZE", "10", "attributes.source.size: Input should be greater than or equal to 1000"),
        (
            "RATE",
            "fast",
            "attributes.recipes.quick.text_encoder.learning_rate: Input should be a valid number",
        ),
        ("BACKBONE", "huge_clip", "attributes.backbones names 'huge_clip'"),
    ],
)
def test_what_a_template_gives_is_checked_and_told_with_file_and_line(
    project: TrialProject, environment: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    environment.setenv(name, value)
    project.write_dataset("wardrobe", **TEMPLATED)
    with pytest.raises(ComponentTreeException) as caught:
        project.definitions()
    message = explained(caught.value)
    assert said in message
    assert f"{project.yaml('wardrobe')}:" in message


@pytest.mark.parametrize("component", [Dataset, Backbones])
def test_the_schema_of_editors_and_dg_takes_what_loads_and_refuses_what_does_not(
    component: type[dg.Component],
) -> None:
    model = component.get_model_cls()
    assert model is not None
    schema = model.model_json_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    if component is Backbones:
        taken = {"backbones": {"tiny_clip": {"kind": "{{ env.KIND }}", "place": "{{ env.PLACE }}"}}}
        refused: dict[str, Any] = {"backbones": {"tiny_clip": {"kind": "embeded", "place": "tiny_clip"}}}
    else:
        taken = TEMPLATED
        refused = {**TEMPLATED, "encoding_batch_size": "many"}
    assert validator.is_valid(taken)
    assert not validator.is_valid(refused)
    assert not validator.is_valid({**taken, "no_such_key": 1})


def test_editors_get_the_same_schema_for_whole_files() -> None:
    """As ``dg utils configure-editor`` writes it for every component that is installed."""
    whole = list_all_components_schema(entry_points=False, extra_modules=("cir_assets.components",))
    validator = Draft202012Validator(whole)
    file = {"type": "cir_assets.components.Dataset", "attributes": TEMPLATED}
    assert validator.is_valid(file)
    assert not validator.is_valid({**file, "attributes": {**TEMPLATED, "sourc": 1}})


def test_a_value_that_is_no_template_is_checked_before_anything_is_filled_in(project: TrialProject) -> None:
    project.write_dataset("wardrobe", source={"kind": "wardrobe", "size": 10})
    with pytest.raises(ComponentTreeException) as caught:
        project.definitions()
    assert "greater than or equal to 1000" in explained(caught.value)


def test_post_processing_and_requirements_work(
    project: TrialProject, environment: pytest.MonkeyPatch
) -> None:
    project.write_dataset("wardrobe", **TEMPLATED)
    said = yaml.safe_load(project.yaml("wardrobe").read_text())
    said["requirements"] = {"env": [*ENVIRONMENT]}
    said["post_processing"] = {
        "assets": [{"target": 'key:"wardrobe/raw"', "attributes": {"tags": {"cost": "{{ env.TEAM }}"}}}]
    }
    project.yaml("wardrobe").write_text(yaml.safe_dump(said))
    graph = project.definitions().resolve_asset_graph()
    assert graph.get(dg.AssetKey(["wardrobe", "raw"])).tags["cost"] == "0042"
    assert "cost" not in graph.get(dg.AssetKey(["wardrobe", "images"])).tags
