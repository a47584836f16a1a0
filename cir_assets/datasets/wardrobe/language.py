"""How people speak of garments: relative captions between two of them, and full descriptions of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from cir_assets.datasets.wardrobe.garments import (
    BRIGHTNESS,
    CATEGORIES,
    LENGTHS,
    SLEEVES,
    Garment,
    differences,
    random_garment,
    varied,
)

NOTICEABLY = 55
"""Difference in perceived brightness above which people just say lighter or darker."""

PATTERN_WORDS = {
    "plain": ("plain", "solid", "one color"),
    "striped": ("striped", "with stripes", "with horizontal stripes"),
    "pinstriped": ("pinstriped", "with pinstripes", "with vertical stripes"),
    "dotted": ("dotted", "with polka dots", "with dots"),
    "checked": ("checked", "plaid", "with checks"),
    "floral": ("floral", "with flowers", "flowery"),
}
PATTERN_NOUNS = {
    "striped": "stripes",
    "pinstriped": "pinstripes",
    "dotted": "dots",
    "checked": "checks",
    "floral": "flowers",
}
NECK_WORDS = {
    "round": ("a round neck", "a crew neck", "a scoop neck"),
    "v": ("a v neck", "a v-neck", "a v shaped neckline"),
    "square": ("a square neck", "a square neckline"),
    "collar": ("a collar", "a shirt collar"),
}
CATEGORY_WORDS = {
    "dress": ("dress", "gown"),
    "shirt": ("shirt", "button up"),
    "toptee": ("top", "tee", "blouse"),
}
LENGTH_WORDS = {
    "short": ("short", "cropped"),
    "regular": ("medium length", "mid length"),
    "long": ("long", "lengthy"),
}
FIT_WORDS = {"fitted": ("fitted", "tight", "slim"), "loose": ("loose", "baggy", "flowing")}


def relative_captions(reference: Garment, target: Garment, random: Random) -> list[str]:
    """Two captions, as two people would write them, saying how the target differs from the reference.

    They speak of true changes only, each perhaps of some of them, together nearly always of all; neither
    names anything that is the same in both, so neither names the whole target.
    """
    changes = differences(reference, target)
    first = [change for change in changes if random.random() < 0.8] or [random.choice(changes)]
    left = [change for change in changes if change not in first]
    second = [c for c in changes if (c in left and random.random() < 0.9) or random.random() < 0.55]
    return [_caption(reference, target, said, random) for said in (first, second or [random.choice(changes)])]


def describe(garment: Garment, random: Random) -> str:
    """A full description of one garment, the way a shop's text has it; order and words vary."""
    noun = random.choice(CATEGORY_WORDS[garment.category])
    before = [
        random.choice(FIT_WORDS[garment.fit]),
        random.choice(LENGTH_WORDS[garment.length]),
        garment.colour,
    ]
    random.shuffle(before)
    after = [_sleeves_noun(garment.sleeves, random), random.choice(NECK_WORDS[garment.neckline])]
    if garment.pattern == "plain":
        before.insert(random.randrange(len(before) + 1), random.choice(("plain", "solid")))
    elif random.random() < 0.35:
        before.append(garment.pattern)
    else:
        after.append(f"{garment.accent} {PATTERN_NOUNS[garment.pattern]}")
    if garment.belt:
        after.append(f"a {garment.accent} belt")
    elif random.random() < 0.3:
        after.append("no belt")
    if garment.pockets:
        after.append("pockets")
    elif random.random() < 0.2:
        after.append("no pockets")
    if garment.print != "none":
        after.append(f"a {garment.accent} {garment.print}")
    elif random.random() < 0.2:
        after.append("no print")
    random.shuffle(after)
    if random.random() < 0.35:
        del after[random.randrange(len(after))]
    joined = ", ".join(after[:-1]) + (" and " if len(after) > 1 else "") + after[-1] if after else ""
    article = random.choice(("a", "a", "this", "one"))
    return (
        f"{article} {' '.join(before)} {noun} with {joined}"
        if joined
        else f"{article} {' '.join(before)} {noun}"
    )


def vocabulary_corpus(seed: int, count: int) -> Iterator[str]:
    """Sentences of both kinds in turn: what a tokenizer of this language is trained on."""
    for index in range(count):
        random = Random(f"vocabulary/{seed}/{index}")
        garment = random_garment(CATEGORIES[index % len(CATEGORIES)], random)
        yield describe(garment, random)
        yield from relative_captions(garment, varied(garment, random.randrange(1, 4), random), random)


def _caption(reference: Garment, target: Garment, changes: Sequence[str], random: Random) -> str:
    said = [_said(change, reference, target, random) for change in changes]
    random.shuffle(said)
    opening = random.choice(
        ("", "", "", "", "it ", "this one ", f"the {random.choice(CATEGORY_WORDS[target.category])} ")
    )
    joiner = random.choice((" and ", " and ", ", ", " and it "))
    # "no belt" stands alone, but after a subject it wants a verb.
    needs_verb = [bool(opening)] + [joiner.endswith("it ")] * (len(said) - 1)
    said = [
        f"has {words}" if verb and words.startswith("no ") else words
        for words, verb in zip(said, needs_verb, strict=True)
    ]
    caption = opening + joiner.join(said)
    if random.random() < 0.12:
        caption = caption[0].upper() + caption[1:]
    if random.random() < 0.15:
        caption += "."
    return caption


def _said(change: str, reference: Garment, target: Garment, random: Random) -> str:
    before, after = getattr(reference, change), getattr(target, change)
    return random.choice(_WAYS[change](before, after, target, reference))


def _colour(before: str, after: str, target: Garment, reference: Garment) -> list[str]:
    ways = [
        f"is {after}",
        f"is {after}",
        f"is {after} instead of {before}",
        f"is {after} in color",
        f"is not {before} but {after}",
    ]
    contrast = BRIGHTNESS[after] - BRIGHTNESS[before]
    if abs(contrast) > NOTICEABLY:
        shade = "lighter" if contrast > 0 else "darker"
        ways += [f"is {shade}, more {after}", f"is a {shade} {after}"]
    return ways


def _accent(before: str, after: str, target: Garment, reference: Garment) -> list[str]:
    ways = [f"has {after} accents", f"has {after} details instead of {before}"]
    if target.pattern != "plain":
        noun = PATTERN_NOUNS[target.pattern]
        ways += [f"has {after} {noun}", f"has {after} {noun}"]
    if target.belt:
        ways += [f"has a {after} belt"]
    if target.print != "none":
        ways += [f"has a {after} {target.print}"]
    return ways


def _pattern(before: str, after: str, target: Garment, reference: Garment) -> list[str]:
    ways = [f"is {word}" for word in PATTERN_WORDS[after] if not word.startswith("with ")]
    if after == "plain":
        return [
            *ways,
            f"is not {before}",
            f"has no {PATTERN_NOUNS[before]}",
            "has no pattern",
            f"no {PATTERN_NOUNS[before]}",
        ]
    noun = PATTERN_NOUNS[after]
    ways += [f"has {noun}", f"has {target.accent} {noun}"]
    if before != "plain":
        ways += [f"has {noun} instead of {PATTERN_NOUNS[before]}", f"is {after} not {before}"]
    else:
        ways += [f"is less plain, with {noun}"]
    return ways


def _sleeves(before: str, after: str, target: Garment, reference: Garment) -> list[str]:
    longer = SLEEVES.index(after) > SLEEVES.index(before)
    if after == "sleeveless":
        return ["is sleeveless", "has no sleeves", "is without sleeves", "no sleeves"]
    ways = [
        f"has {after} sleeves",
        f"has {after} sleeves",
        f"has {'longer' if longer else 'shorter'} sleeves",
    ]
    if before == "sleeveless":
        ways += [f"has {after} sleeves, not sleeveless", "has sleeves"]
    return ways


def _neckline(before: str, after: str, target: Garment, reference: Garment) -> list[str]:
    ways = [f"has {word}" for word in NECK_WORDS[after]]
    if before == "collar":
        ways += ["has no collar", f"has {NECK_WORDS[after][0]} instead of a collar"]
    if after == "collar":
        ways += ["has a collar", "is collared"]
    return ways


def _length(before: str, after: str, target: Garment, reference: Garment) -> list[str]:
    longer = LENGTHS.index(after) > LENGTHS.index(before)
    far = abs(LENGTHS.index(after) - LENGTHS.index(before)) > 1
    word = "longer" if longer else "shorter"
    return [f"is {word}", f"is {word} in length", f"is {'much' if far else 'a bit'} {word}"]


def _fit(before: str, after: str, target: Garment, reference: Garment) -> list[str]:
    if after == "loose":
        return ["is looser", "is less fitted", "has a looser fit", "is more flowing", "is baggy"]
    return ["is more fitted", "is tighter", "is less loose", "has a slimmer fit", "is slim"]


def _belt(before: bool, after: bool, target: Garment, reference: Garment) -> list[str]:
    if after:
        return ["has a belt", f"has a {target.accent} belt", "is belted"]
    return ["has no belt", "is without a belt", "no belt"]


def _pockets(before: bool, after: bool, target: Garment, reference: Garment) -> list[str]:
    return ["has pockets", "has two pockets"] if after else ["has no pockets", "no pockets"]


def _print(before: str, after: str, target: Garment, reference: Garment) -> list[str]:
    if after == "none":
        return ["has no print", f"has no {before}", f"is without the {before}", "has no graphic"]
    ways = [
        f"has a {after}",
        f"has a {after} on the front",
        f"has a {target.accent} {after}",
        f"has a {after} print",
    ]
    if before != "none":
        ways += [f"has a {after} instead of a {before}", f"has a {after} not a {before}"]
    return ways


def _sleeves_noun(sleeves: str, random: Random) -> str:
    return (
        random.choice(("no sleeves", "sleeveless arms")) if sleeves == "sleeveless" else f"{sleeves} sleeves"
    )


_WAYS: dict[str, Callable[[Any, Any, Garment, Garment], list[str]]] = {
    "colour": _colour,
    "accent": _accent,
    "pattern": _pattern,
    "sleeves": _sleeves,
    "neckline": _neckline,
    "length": _length,
    "fit": _fit,
    "belt": _belt,
    "pockets": _pockets,
    "print": _print,
}
