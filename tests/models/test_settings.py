"""What a backbone's and a pipeline's models may say of themselves; the rest is refused with the mend."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from cir_assets.models.settings import BackboneSettings, ReferenceCheckpoints


@pytest.mark.parametrize(
    ("model", "said", "refused"),
    [
        (BackboneSettings, {"kind": "folder", "place": "x", "revision": "v1"}, "revision is for kind: hub"),
        (BackboneSettings, {"kind": "open_clip", "place": "RN50x4"}, "pretrained names the weights"),
        (BackboneSettings, {"kind": "hub", "place": "x", "pretrained": "openai"}, "it is needed there and"),
        (BackboneSettings, {"kind": "hub", "place": "x", "quick_gelu": True}, "says it itself, remove it"),
        (BackboneSettings, {"kind": "hub", "place": "x", "target_ratio": 0.9}, "greater than or equal to 1"),
        (ReferenceCheckpoints, {}, "name the files: text_encoder"),
        (
            ReferenceCheckpoints,
            {"combiner": "c.pt", "combiner_frozen_clip": "f.pt"},
            "combiner belongs to a tuned text_encoder",
        ),
    ],
)
def test_keys_that_do_not_go_together_are_refused(
    model: type[BaseModel], said: dict[str, Any], refused: str
) -> None:
    with pytest.raises(ValidationError, match=refused):
        model.model_validate(said)


def test_a_setting_that_came_later_changes_no_version_where_it_is_left_out() -> None:
    said = {"kind": "open_clip", "place": "RN50x4", "pretrained": "openai"}
    assert "quick_gelu" not in BackboneSettings.model_validate(said).model_dump()
    assert BackboneSettings.model_validate({**said, "quick_gelu": False}).model_dump()["quick_gelu"] is False
