"""The sample shop's pictures as a folder: its archive, unpacked once a process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from cir_assets.datasets.archives import unpack
from tests.trial_project import PROJECT

SAMPLE = PROJECT / "examples" / "boutique"


@cache
def sample_pictures() -> Path:
    """A folder that holds ``dress/``, ``shirt/`` and ``toptee/`` until the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="boutique-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    unpack(SAMPLE / "pictures.zip", folder, str)
    return folder
