"""What a garment is: its attributes, which of them a category has, and how one garment becomes another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

CATEGORIES = ("dress", "shirt", "toptee")

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (200, 32, 44),
    "orange": (238, 128, 32),
    "yellow": (246, 212, 60),
    "green": (44, 136, 68),
    "teal": (24, 142, 148),
    "blue": (60, 118, 214),
    "navy": (28, 38, 92),
    "purple": (118, 62, 156),
    "pink": (242, 150, 186),
    "brown": (122, 78, 48),
    "grey": (140, 142, 148),
    "white": (244, 243, 238),
    "black": (34, 33, 38),
}
BRIGHTNESS = {name: (3 * r + 6 * g + b) // 10 for name, (r, g, b) in COLOURS.items()}
"""Perceived brightness 0..255, for captions that say lighter or darker."""

PATTERNS = ("plain", "striped", "pinstriped", "dotted", "checked", "floral")
SLEEVES = ("sleeveless", "short", "three-quarter", "long")
NECKLINES = ("round", "v", "square", "collar")
LENGTHS = ("short", "regular", "long")
FITS = ("fitted", "loose")
PRINTS = ("none", "star", "heart", "circle", "moon", "bolt")


@dataclass(frozen=True)
class Garment:
    """One garment by its attributes; two garments are equal when all of them are."""

    category: str
    colour: str
    accent: str
    pattern: str
    sleeves: str
    neckline: str
    length: str
    fit: str
    belt: bool
    pockets: bool
    print: str


CHOICES: dict[str, tuple[Any, ...]] = {
    "colour": tuple(COLOURS),
    "accent": tuple(COLOURS),
    "pattern": PATTERNS,
    "sleeves": SLEEVES,
    "neckline": NECKLINES,
    "length": LENGTHS,
    "fit": FITS,
    "belt": (False, True),
    "pockets": (False, True),
    "print": PRINTS,
}
"""What each attribute can be; ``accent`` never equals ``colour``."""

WEIGHTS = {
    "colour": 5,
    "accent": 2,
    "pattern": 4,
    "sleeves": 4,
    "neckline": 3,
    "length": 3,
    "fit": 2,
    "belt": 2,
    "pockets": 1,
    "print": 3,
}
"""How often people ask for a change of each attribute."""


def random_garment(category: str, random: Random) -> Garment:
    """A garment of a category; plain ones and ones without a print are the most common, as in shops."""
    colour = random.choice(CHOICES["colour"])
    return Garment(
        category=category,
        colour=colour,
        accent=random.choice([name for name in COLOURS if name != colour]),
        pattern="plain" if random.random() < 0.3 else random.choice(PATTERNS[1:]),
        sleeves=random.choice(SLEEVES),
        neckline=random.choice(NECKLINES),
        length=random.choice(LENGTHS),
        fit=random.choice(FITS),
        belt=random.random() < 0.35,
        pockets=random.random() < 0.35,
        print="none" if random.random() < 0.45 else random.choice(PRINTS[1:]),
    )


def shows(garment: Garment, attribute: str) -> bool:
    """Whether an attribute can be seen: an accent needs something drawn in it."""
    if attribute != "accent":
        return True
    return garment.pattern != "plain" or garment.print != "none" or garment.belt


def changed(garment: Garment, attribute: str, random: Random) -> Garment:
    """The garment with one attribute changed to another value that can be seen."""
    current = getattr(garment, attribute)
    taken = {current}
    if attribute == "colour":
        taken.add(garment.accent)
    elif attribute == "accent":
        taken.add(garment.colour)
    elif attribute == "pattern" and random.random() < 0.25:
        taken |= {pattern for pattern in PATTERNS if pattern != "plain"} - {current}
        taken.discard("plain")
        if current == "plain":
            taken = {current}
    options = [value for value in CHOICES[attribute] if value not in taken]
    return replace(
        garment, **{attribute: random.choice(options or [v for v in CHOICES[attribute] if v != current])}
    )


def visible(garment: Garment) -> tuple[Any, ...]:
    """What can be seen of a garment, in the order of ``CHOICES``; None for an accent nothing is drawn in."""
    return tuple(getattr(garment, name) if shows(garment, name) else None for name in CHOICES)


def differences(reference: Garment, target: Garment) -> list[str]:
    """The attributes in which two garments of one category visibly differ, in a fixed order; none if alike.

    An accent seen in only one of them is no difference of its own: what it is drawn in comes or goes.
    """
    return [
        name
        for name in CHOICES
        if getattr(reference, name) != getattr(target, name)
        and shows(reference, name)
        and shows(target, name)
    ]


def varied(garment: Garment, changes: int, random: Random) -> Garment:
    """The garment with that many attributes changed, each change visible, likelier ones more often.

    Args:
        garment: where it starts from; it stays as it is.
        changes: how many attributes the result differs in, as ``differences`` counts.
        random: where its choices come from.
    """
    result = garment
    names = list(CHOICES)
    for _ in range(40):
        if len(differences(garment, result)) >= changes:
            break
        open_names = [n for n in names if getattr(result, n) == getattr(garment, n) and shows(result, n)]
        name = random.choices(open_names, [WEIGHTS[n] for n in open_names])[0]
        candidate = changed(result, name, random)
        # Giving a hidden accent something to be drawn in can bring two differences at once.
        if len(differences(garment, candidate)) <= changes:
            result = candidate
    return result
