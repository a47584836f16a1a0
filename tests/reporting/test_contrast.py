"""Text, borders of controls and marks of charts stand out from their ground, in light and in dark (WCAG 2.2)."""

from __future__ import annotations

import re

import pytest

from cir_assets.reporting.charts import DARK_OF, GRID, INK, MUTED, PAPER
from cir_assets.reporting.report import page_part

GROUNDS = ("ground", "card", "soft", "accent-soft")
THEMES = ("light", "dark", "dark by the system")


def themes() -> dict[str, dict[str, str]]:
    """The colours of ``page.css`` by name, as its three blocks of variables give them."""
    blocks = re.findall(r":root[^{]*\{([^}]*--ground[^}]*)\}", page_part("page.css"))
    return {
        theme: dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        for theme, block in zip(THEMES, blocks, strict=True)
    }


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours: 1 to 21."""
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_dark_is_the_same_whether_chosen_or_the_systems() -> None:
    assert themes()["dark"] == themes()["dark by the system"]
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", THEMES[:2])
def test_text_has_4_5_to_1_and_borders_of_controls_3_to_1(theme: str) -> None:
    colours = themes()[theme]
    for ground in GROUNDS:
        for text in ("ink", "quiet", "accent", "warn"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast(colours["edge"], colours[ground]) >= 3, ground
    # The chosen tab and the target's rank: the card's colour on the accent.
    assert contrast(colours["card"], colours["accent"]) >= 4.5


def test_controls_have_the_border_that_was_measured() -> None:
    [rule] = re.findall(r"^button, select, input \{[^}]*\}", page_part("page.css"), re.MULTILINE)
    assert "border: 1px solid var(--edge)" in rule


def test_marks_of_charts_have_3_to_1_and_their_text_4_5_to_1() -> None:
    light, dark = (themes()[theme]["card"] for theme in THEMES[:2])
    assert (PAPER, DARK_OF[PAPER]) == (light, dark)
    for colour, counterpart in DARK_OF.items():
        if colour not in (GRID, PAPER):
            least = 4.5 if colour in (INK, MUTED) else 3
            assert contrast(colour, light) >= least, colour
            assert contrast(counterpart, dark) >= least, counterpart
