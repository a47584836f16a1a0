"""Every method is one entry: it knows its name, its models and its query, and no other file knows its name."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from cir_assets.models.combiner import Combiner, pulled
from cir_assets.models.stages import COMBINERS, LABELS, MODELS
from cir_assets.reporting.charts import DARK_OF, METHOD_LOOKS, stage_colour
from cir_assets.retrieval.methods import LADDER, METHODS, Method, served, summed_query
from tests.literals import PACKAGE, files_with

FEATURES = 8


def features() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    image, text = (3 * torch.randn(5, FEATURES, generator=random) for _ in range(2))
    return image, text


def combiners() -> dict[str, Combiner]:
    made = {}
    for seed, name in enumerate(COMBINERS):
        torch.manual_seed(seed)
        made[name] = Combiner(FEATURES, 16, 16).eval()
    return made


@pytest.mark.parametrize("name", sorted({*METHODS, *MODELS}))
def test_a_name_of_a_method_or_model_stands_in_one_file_of_the_package(name: str) -> None:
    assert files_with(name) == ["models/stages.py" if name in MODELS else "retrieval/methods.py"]


@pytest.mark.parametrize("name", METHODS)
def test_no_page_knows_a_method_by_name(name: str) -> None:
    for file in (
        each for folder in ("reporting", "serving") for each in (PACKAGE / folder / "page").iterdir()
    ):
        text = file.read_text(encoding="utf-8")
        assert f"'{name}'" not in text, file.name
        assert f'"{name}"' not in text, file.name


def test_names_labels_and_precedences_are_each_methods_own() -> None:
    for said in ("name", "label", "spoken", "explanation"):
        assert len({getattr(method, said) for method in LADDER}) == len(LADDER), said
    served_ones = [method.precedence for method in LADDER if method.precedence]
    assert len(set(served_ones)) == len(served_ones)


@pytest.mark.parametrize("method", LADDER, ids=lambda method: method.name)
def test_every_method_has_a_look_of_its_own_in_light_and_dark(method: Method) -> None:
    assert method.name in METHOD_LOOKS, f"give {method.name} a colour in reporting/charts.py"
    colour, _, _ = METHOD_LOOKS[method.name]
    assert colour in DARK_OF, f"give {colour} a counterpart on a dark ground in DARK_OF"
    assert len({look[0] for look in METHOD_LOOKS.values()}) == len(METHOD_LOOKS)


def test_a_training_has_the_colour_of_the_method_it_completes() -> None:
    assert set(LABELS) == set(MODELS)
    for model in MODELS:
        completed = next(method for method in LADDER if method.models[-1:] == (model,))
        assert stage_colour(model) == METHOD_LOOKS[completed.name][0]


@pytest.mark.parametrize("method", LADDER, ids=lambda method: method.name)
@pytest.mark.parametrize("pull", [-1.0, -0.3, 0.0, 0.6, 1.0])
def test_queries_are_of_unit_length_and_a_method_without_a_combiner_has_no_weight(
    method: Method, pull: float
) -> None:
    image, text = features()
    # No more than the models it names.
    models = {name: model for name, model in combiners().items() if name in method.models}
    queries, weight = method.compose(image, text, models, pull)
    assert queries.shape == image.shape
    assert torch.allclose(queries.norm(dim=1), torch.ones(len(image)), atol=1e-6)
    assert method.learns_weight == (weight is not None)
    if weight is not None:
        assert weight.shape == (len(image), 1)
        assert ((weight > 0) & (weight < 1)).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
def test_methods_between_picture_and_text_follow_their_oracle(share: float) -> None:
    image, text = features()
    start, end = (feature / feature.norm(dim=1, keepdim=True) for feature in (image, text))
    compose = {name: METHODS[name].compose for name in ("weighted_sum", "slerp", "merged")}
    straight = (1 - share) * start + share * end
    found = compose["weighted_sum"](image, text, {}, share=share)[0]
    assert torch.allclose(found, straight / straight.norm(dim=1, keepdim=True), atol=1e-6)
    arc = compose["slerp"](image, text, {}, share=share)[0]
    for row in range(len(image)):
        angle = math.acos(float(start[row] @ end[row]))
        assert math.acos(min(1.0, float(arc[row] @ start[row]))) == pytest.approx(share * angle, abs=1e-3)
        assert math.acos(min(1.0, float(arc[row] @ end[row]))) == pytest.approx((1 - share) * angle, abs=1e-3)
    both = (1 - share) * METHODS["text_encoder_sum"].compose(image, text, {})[0]
    models = combiners()
    both = both + share * METHODS["combiner"].compose(image, text, models)[0]
    merged, weight = compose["merged"](image, text, models, share=share)
    assert torch.allclose(merged, both / both.norm(dim=1, keepdim=True), atol=1e-6)
    assert weight is not None


def test_a_spherical_query_between_equal_or_opposite_features_is_one() -> None:
    image, _ = features()
    for text in (image, -image):
        query, _ = METHODS["slerp"].compose(image, text, {}, share=0.2)
        assert torch.allclose(query, functional.normalize(image, dim=1), atol=1e-5)


def test_the_six_methods_compose_as_the_paper_has_them() -> None:
    image, text = features()
    models = combiners()
    queries = {name: method.compose(image, text, models)[0] for name, method in METHODS.items()}
    assert torch.equal(queries["image_only"], functional.normalize(image, dim=1))
    assert torch.equal(queries["text_only"], functional.normalize(text, dim=1))
    for name in ("sum", "text_encoder_sum"):
        assert torch.equal(queries[name], functional.normalize(image + text, dim=1))
    for name in ("combiner_frozen_clip", "combiner"):
        assert torch.equal(queries[name], models[name].combine(image, text)[0])
    assert not torch.equal(queries["combiner"], queries["combiner_frozen_clip"])


def test_a_pull_takes_the_sum_from_the_picture_to_the_text() -> None:
    image, text = features()
    assert torch.allclose(summed_query(image, text, -1.0), functional.normalize(image, dim=1), atol=1e-6)
    assert torch.allclose(summed_query(image, text, 1.0), functional.normalize(text, dim=1), atol=1e-6)
    half = pulled(torch.tensor(0.5), 0.5)
    mixed = functional.normalize(half * text + (1 - half) * image, dim=1)
    assert torch.allclose(summed_query(image, text, 0.5), mixed, atol=1e-6)


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (list(METHODS), "combiner"),
        (["image_only", "text_only", "sum", "text_encoder_sum", "combiner_frozen_clip"], "text_encoder_sum"),
        (["image_only", "text_only", "sum", "combiner_frozen_clip"], "combiner_frozen_clip"),
        (["sum", "image_only", "text_only"], "sum"),
        (["sum", "weighted_sum", "slerp"], "slerp"),
        (["image_only", "a method of an older version"], None),
    ],
)
def test_the_best_method_there_is_serves(there: list[str], expected: str | None) -> None:
    found = served(there)
    assert (found.name if found else None) == expected


def test_a_method_names_what_would_be_served_before_its_stages() -> None:
    before = {name: [each.name for each in method.stages_before] for name, method in METHODS.items()}
    assert before["combiner"] == before["merged"] == ["sum", "text_encoder_sum"]
    assert before["text_encoder_sum"] == before["combiner_frozen_clip"] == ["sum"]
    assert before["sum"] == []


def test_the_ladder_is_known_without_loading_torch_or_dagster() -> None:
    code = (
        "import sys, cir_assets.retrieval.methods; print({'torch', 'dagster', 'duckdb'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "set()\n"
