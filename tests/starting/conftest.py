"""A working folder of one's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "storage"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path
