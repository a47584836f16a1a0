"""A storage folder where there is none yet: made with the settings of Dagster's instance that belong into it."""

from __future__ import annotations

import shutil
from pathlib import Path

from cir_assets.store.files import write_whole

SETTINGS = Path(__file__).with_name("dagster.yaml")
"""What Dagster reads of its folder: telemetry off, one place on the GPU, ended runs and old looks cleared."""


def begin_storage(folder: Path) -> None:
    """Make a storage folder, with Dagster's settings unless it holds some.

    Raises:
        OSError: when nothing can be made there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / SETTINGS.name
    if not file.exists():
        with write_whole(file) as beside:
            shutil.copyfile(SETTINGS, beside)
