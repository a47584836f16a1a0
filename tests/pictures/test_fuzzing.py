"""Whatever bytes a file holds, the outcome is a picture or a reason.

``CIR_ASSETS_EXAMPLES=20000 pytest tests/pictures/test_fuzzing.py`` tries so many for each test, others every time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cir_assets.datasets.tables import PICTURES, frame
from cir_assets.engines.progress import Progress
from cir_assets.pictures.decoding import decode
from cir_assets.pictures.scanning import scan_pictures
from cir_assets.pictures.settings import Preprocessing, Reading
from tests.pictures.mutations import mutated, whole_pictures

EXAMPLES = int(os.environ.get("CIR_ASSETS_EXAMPLES", "0"))
LIMIT = 200_000
READINGS: Sequence[Reading] = ("as_seen", "reference")
WHOLES = whole_pictures()

pytestmark = pytest.mark.filterwarnings("ignore")


def silent(description: str, total: int, unit: str) -> Progress:
    return Progress(description, total, unit, log=lambda line: None)


def tried(folder: Path, content: bytes) -> None:
    """Scan and decode a file, and see that each gives a picture or a reason, about these bytes."""
    file = folder / "a.jpg"
    file.write_bytes(content)
    key = hashlib.sha256(content).hexdigest()
    pictures = frame(PICTURES, [{"image": "a", "path": "a.jpg"}])
    images, issues, _ = scan_pictures(pictures, folder, pixel_limit=LIMIT, progress=silent)
    assert images["image_key"].to_list() == [key] * images.height
    assert images.height + issues.height == 1
    assert set(issues["kind"]) <= {"unreadable_picture"}
    for reading in READINGS:
        decoded = decode([file], Preprocessing(16, "targetpad", 1.25, LIMIT, reading))
        assert len(decoded.rows) + len(decoded.failures) == 1
        assert decoded.pixels.shape == (len(decoded.rows), 16, 16, 3)
        assert decoded.image_keys == [key] * len(decoded.rows)
        for failure in decoded.failures:
            assert failure.image_key == key
            assert failure.reason.strip()
            assert not failure.passing or "memory" in failure.reason
            assert "object at 0x" not in failure.reason


@settings(
    max_examples=EXAMPLES or 300,
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(content=mutated(WHOLES))
def test_mutated_pictures_give_a_picture_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    tried(tmp_path_factory.getbasetemp(), content)


@settings(
    max_examples=EXAMPLES or 40,
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(data=st.data())
def test_mutated_photos_give_a_picture_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, real_data: Path, data: st.DataObject
) -> None:
    photos = sorted(
        (real_data / "clothing-photos" / "images").iterdir(), key=lambda file: file.stat().st_size
    )
    tried(tmp_path_factory.getbasetemp(), data.draw(mutated([photo.read_bytes() for photo in photos[:4]])))


@pytest.mark.parametrize("number", range(len(WHOLES)))
def test_each_whole_picture_is_read_both_ways(tmp_path: Path, number: int) -> None:
    (tmp_path / "a.jpg").write_bytes(WHOLES[number])
    for reading in READINGS:
        decoded = decode([tmp_path / "a.jpg"], Preprocessing(16, "targetpad", 1.25, LIMIT, reading))
        assert decoded.failures == []
        # The reference's conversion makes deep greys white or black.
        assert reading == "reference" or np.ptp(decoded.pixels) > 10
