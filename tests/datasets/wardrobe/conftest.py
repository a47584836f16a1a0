"""Garments at random."""

from __future__ import annotations

from hypothesis import strategies as st

from cir_assets.datasets.wardrobe.garments import CATEGORIES, CHOICES, Garment


@st.composite
def garments(draw: st.DrawFn) -> Garment:
    colour = draw(st.sampled_from(CHOICES["colour"]))
    accent = draw(st.sampled_from([name for name in CHOICES["accent"] if name != colour]))
    rest = {
        name: draw(st.sampled_from(CHOICES[name])) for name in CHOICES if name not in ("colour", "accent")
    }
    return Garment(category=draw(st.sampled_from(CATEGORIES)), colour=colour, accent=accent, **rest)
