"""The wardrobe as a YAML names it; ``generation`` renders it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from cir_assets.datasets.dataset_source import DatasetSource
from cir_assets.datasets.fashioniq import picture_folder, read_fashioniq
from cir_assets.datasets.tables import Annotations
from cir_assets.engines.progress import ProgressFactory, terminal_progress


class WardrobeSource(DatasetSource):
    """The embedded data set: clothes rendered from a seed."""

    kind: Literal["wardrobe"]
    size: int = Field(default=15_000, ge=1_000, le=1_000_000, description="Pictures in all three categories.")
    seed: int = Field(default=7, ge=0, description="Decides every garment, pose and caption.")

    def prepare(self, folder: Path, progress: ProgressFactory = terminal_progress) -> None:
        """Render it into ``folder``; what is there already is kept."""
        # Rendering takes Pillow; settings load without it.
        from cir_assets.datasets.wardrobe.generation import render_wardrobe

        render_wardrobe(folder, self.size, self.seed, progress)

    def picture_root(self, folder: Path) -> Path:
        """Where FashionIQ's layout has its pictures."""
        return picture_folder(folder)

    def read(self, folder: Path) -> Annotations:
        """Read what was rendered."""
        return read_fashioniq(folder)
