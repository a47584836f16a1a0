"""What may stand in a data set's YAML; the rest is refused with file, line and key."""

from __future__ import annotations

from typing import Any

import pytest

from tests.components.conftest import WARDROBE, refusal
from tests.trial_project import TrialProject


@pytest.mark.parametrize(
    ("attributes", "key", "said"),
    [
        ({"recipes": {"quick": {"combiner": {"epoch": 3}}}}, "epoch", "Extra inputs are not permitted"),
        ({"recipes": {"quick": {"combiner": {"epochs": "many"}}}}, "epochs", "valid integer"),
        ({"recipes": {"quick": {"text_encoder": {"learning_rate": -1}}}}, "learning_rate", "greater than 0"),
        ({"recipes": {"quick": "automatic"}}, "quick", "'automatic' is no recipe: say auto"),
        (
            {"recipes": {"quick": {"combiner": {"alternatives": [{"logit_scale": 0}]}}}},
            "logit_scale",
            "greater than 0",
        ),
        ({"source": {"kind": "wardrobe", "size": 10}}, "size", "greater than or equal to 1000"),
        ({"source": {"kind": "wardrob"}}, "source", "'wardrobe'"),
        ({"backbone": ["tiny_clip"]}, "backbone", "Extra inputs are not permitted"),
        ({"protocols": ["recall"]}, "- recall", "'fashioniq'"),
        ({"schedule": {"cron": "0 3 * *"}}, "cron", "five fields"),
        ({"schedule": {"cron": "0 25 * * 1"}}, "cron", "'0 25 * * 1' is no cron expression"),
        (
            {"schedule": {"cron": "0 3 * * 1", "timezone": "Europe/Roma"}},
            "timezone",
            "'Europe/Roma' is no IANA time zone",
        ),
    ],
)
def test_a_wrong_key_type_or_range_is_refused_with_file_line_and_key(
    project: TrialProject, attributes: dict[str, Any], key: str, said: str
) -> None:
    project.write_dataset("wardrobe", **{"source": WARDROBE, **attributes})
    message = refusal(project)
    lines = project.yaml("wardrobe").read_text().splitlines()
    assert said in message
    assert any(
        f"{project.yaml('wardrobe')}:{number}" in message
        for number, line in enumerate(lines, 1)
        if key in line
    ), message


def test_a_data_set_without_a_recipe_is_trained_as_in_the_paper(project: TrialProject) -> None:
    project.write_dataset("shop", source=WARDROBE, recipes={})
    keys = {key.to_user_string() for key in project.definitions().resolve_asset_graph().get_all_asset_keys()}
    assert "shop/tiny_clip/paper/combiner" in keys
