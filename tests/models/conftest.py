"""A pipeline as it leaves: the folder of a shop's champion."""

from __future__ import annotations

from tests.sharing.conftest import encoded, exported, shop

__all__ = ["encoded", "exported", "shop"]
