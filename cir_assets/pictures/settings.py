"""What is chosen of how pictures become the encoder's pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Padding = Literal["targetpad", "squarepad", "clip"]

Reading = Literal["as_seen", "reference"]
"""``reference``: pixels as they are stored, as the reference implementation has them; ``as_seen``: as a viewer shows
them (RGB, upright, on white, in sRGB)."""


@dataclass(frozen=True)
class Preprocessing:
    """What a worker needs to know to make pixels of a file."""

    resolution: int
    padding: Padding
    target_ratio: float
    pixel_limit: int
    reading: Reading = "reference"


PIXEL_LIMIT = 100_000_000
"""Pictures of more pixels are refused by their header: decoded they would take 300 MB each."""
