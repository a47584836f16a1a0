"""A box of GeneCIS's attribute tasks: a part of a picture that is a picture of its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A part of a picture of Visual Genome: its number, and left, top, width and height in pixels."""

    picture: str
    left: float
    top: float
    width: float
    height: float

    @property
    def image(self) -> str:
        """The id of the cut-out picture."""
        corner = "_".join(f"{side:g}" for side in (self.left, self.top, self.width, self.height))
        return f"vg-{self.picture}_{corner}"
