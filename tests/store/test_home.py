"""A storage folder is begun with Dagster's settings, and what lies there already stays."""

from __future__ import annotations

from pathlib import Path

from cir_assets.store.home import SETTINGS, begin_storage
from tests.trial_project import PROJECT


def test_the_settings_of_a_clone_and_of_the_package_are_the_same() -> None:
    assert SETTINGS.read_bytes() == (PROJECT / "storage" / "dagster.yaml").read_bytes()


def test_settings_somebody_wrote_stay(tmp_path: Path) -> None:
    begin_storage(tmp_path / "new")
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["dagster.yaml"]
    (tmp_path / "new" / "dagster.yaml").write_text("telemetry: {enabled: true}\n")
    begin_storage(tmp_path / "new")
    assert "true" in (tmp_path / "new" / "dagster.yaml").read_text()
