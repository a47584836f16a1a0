"""Backbones are everybody's."""

from __future__ import annotations

import pytest
from dagster.components.core.component_tree import ComponentTreeException

from cir_assets.components.loading import explained
from tests.components.conftest import WARDROBE
from tests.trial_project import TrialProject


def test_backbones_are_everybodys_so_a_mistake_there_is_raised(project: TrialProject) -> None:
    project.write_dataset("wardrobe", source=WARDROBE)
    project.write_backbones({"tiny_clip": {"kind": "embeded", "place": "tiny_clip"}})
    with pytest.raises(ComponentTreeException) as caught:
        project.definitions(set_broken_aside=True)
    assert f"{project.yaml('backbones')}:" in explained(caught.value)
