"""Data sets' YAML, and how it is refused."""

from __future__ import annotations

import pytest
from dagster.components.core.component_tree import ComponentTreeException

from tests.trial_project import TrialProject

WARDROBE = {"kind": "wardrobe", "size": 1000}


def refusal(project: TrialProject) -> str:
    with pytest.raises((ValueError, ComponentTreeException)) as caught:
        project.definitions()
    messages = []
    error: BaseException | None = caught.value
    while error is not None:
        messages.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(messages)
