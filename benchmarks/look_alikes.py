"""A catalogue of many near look-alikes, drawn from a seed: letters in badges that differ in tone, hat and mark.

``coloured`` ones differ as emoji do; of ``outlined`` ones, black lines on white, the embedded backbone tells little
apart: their features point nearly the same way, as those of real line drawings do.
"""

from __future__ import annotations

import csv
import random
import string
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

SIDE = 144
TONES = {
    "no": (252, 234, 43),
    "light": (250, 220, 188),
    "medium light": (224, 187, 149),
    "medium": (191, 143, 104),
    "medium dark": (155, 100, 61),
    "dark": (89, 69, 57),
}
HATS = ("", "cap", "bow", "glasses")
MARKS = ("", "plus", "dot", "star", "slash")
SIGNS = {"plus": "+", "dot": "o", "star": "*", "slash": "/"}
SPLITS, SHARES = ("train", "val", "test"), (0.68, 0.16, 0.16)
SAME_LETTER = 0.75
"""Share of the triplets whose target is the same letter with one or two details changed."""


class Badge(NamedTuple):
    """One picture."""

    letter: str
    tone: str
    hat: str
    mark: str

    @property
    def file(self) -> str:
        """Its name; letters of both cases stay apart where file names do not tell them."""
        return f"{ord(self.letter)}-{self.tone}-{self.hat or 'bare'}-{self.mark or 'none'}.png".replace(
            " ", "-"
        )


def draw_catalogue(folder: Path, pictures: int, triplets: int, *, outlined: bool, seed: int = 5) -> None:
    """Write ``images/`` and ``triplets.csv`` as a catalogue's source reads them.

    Args:
        folder: made if need be.
        pictures: about how many.
        triplets: how many in all splits, which share their pictures.
        outlined: black lines on white instead of colours.
        seed: decides all.
    """
    chance = random.Random(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    combinations = [(tone, hat, mark) for tone in TONES for hat in HATS for mark in MARKS]
    letters = list(string.ascii_letters + string.digits)
    chance.shuffle(letters)
    each = max(6, pictures // len(letters))
    badges = [Badge(letter, *rest) for letter in letters for rest in chance.sample(combinations, each)]
    for badge in badges:
        _draw(badge, outlined=outlined).save(folder / "images" / badge.file)
    of_letter: dict[str, list[Badge]] = {}
    of_look: dict[tuple[str, ...], list[Badge]] = {}
    for badge in badges:
        of_letter.setdefault(badge.letter, []).append(badge)
        of_look.setdefault(badge[1:], []).append(badge)
    pairs: dict[tuple[Badge, Badge], None] = {}
    while len(pairs) < triplets:
        reference = chance.choice(badges)
        if chance.random() < SAME_LETTER:
            others = [each for each in of_letter[reference.letter] if 1 <= _apart(reference, each) <= 2]
        else:
            others = [each for each in of_look[reference[1:]] if each != reference]
        if others:
            pairs[reference, chance.choice(others)] = None
    with (folder / "triplets.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["reference", "target", "caption", "split"])
        for reference, target in pairs:
            split = chance.choices(SPLITS, SHARES)[0]
            table.writerow([reference.file, target.file, _caption(reference, target, chance), split])


def _apart(first: Badge, second: Badge) -> int:
    return sum(ours != theirs for ours, theirs in zip(first, second, strict=True))


def _caption(reference: Badge, target: Badge, chance: random.Random) -> str:
    said = []
    if reference.letter != target.letter:
        said.append(chance.choice(["a letter {} instead", "the letter {}"]).format(target.letter))
    if reference.tone != target.tone:
        said.append(chance.choice(["{} tone", "with {} tone", "{} tone instead"]).format(target.tone))
    if reference.hat != target.hat:
        said.append(f"with {target.hat}" if target.hat else f"without the {reference.hat}")
    if reference.mark != target.mark:
        said.append(f"with a {target.mark}" if target.mark else f"no {reference.mark}")
    chance.shuffle(said)
    return " and ".join(said)


def _draw(badge: Badge, *, outlined: bool) -> Image.Image:
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    pen = ImageDraw.Draw(picture)
    black = (0, 0, 0)
    fill = (255, 255, 255) if outlined else TONES[badge.tone]
    pen.ellipse((14, 14, 130, 130), fill=fill, outline=black, width=3)
    if outlined:
        for line in range(list(TONES).index(badge.tone)):
            pen.line((24, 64 + 9 * line, 44, 56 + 9 * line), fill=black, width=2)
    pen.text((76, 78), badge.letter, font=ImageFont.load_default(56), fill=black, anchor="mm")
    blue, pink, red = (black,) * 3 if outlined else ((60, 120, 200), (220, 60, 120), (210, 30, 40))
    if badge.hat == "cap":
        pen.pieslice((34, 2, 110, 50), 180, 360, fill=None if outlined else blue, outline=black, width=2)
    elif badge.hat == "bow":
        for tip in (52, 92):
            pen.polygon([(tip, 10), (72, 20), (tip, 30)], fill=None if outlined else pink, outline=black)
    elif badge.hat == "glasses":
        for left in (36, 78):
            pen.ellipse((left, 36, left + 30, 56), outline=black, width=3)
        pen.line((66, 46, 78, 46), fill=black, width=3)
    if badge.mark:
        pen.text((124, 124), SIGNS[badge.mark], font=ImageFont.load_default(34), fill=red, anchor="mm")
    return picture
