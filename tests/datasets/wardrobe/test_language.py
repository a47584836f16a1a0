"""What is said of garments is true, speaks of changes alone, and never names the whole target."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cir_assets.datasets.wardrobe.garments import (
    CATEGORIES,
    CHOICES,
    COLOURS,
    LENGTHS,
    SLEEVES,
    Garment,
    differences,
    random_garment,
    shows,
    varied,
)
from cir_assets.datasets.wardrobe.generation import plan_wardrobe
from cir_assets.datasets.wardrobe.language import describe, relative_captions, vocabulary_corpus

SPEAKS_OF = {
    "sleeves": r"sleeve",
    "neckline": r"neck|collar",
    "fit": r"fitted|tight|slim|loose|baggy|flowing",
    "pockets": r"pocket",
    "length": r"^is (a bit |much )?(longer|shorter)( in length)?$",
}
"""Words by which a clause is known to speak of an attribute."""

PATTERNS_IN_WORDS = {
    "striped": r"(?<!pin)strip",
    "pinstriped": r"pinstrip|vertical",
    "dotted": r"\bdot",
    "checked": r"check|plaid",
    "floral": r"flor|flower",
}


def clauses(caption: str) -> list[str]:
    """The caption's statements, without the subject before and the full stop after."""
    bare = re.sub(
        r"^(it|this one|the (dress|gown|shirt|button up|top|tee|blouse)) ", "", caption.lower().strip(".")
    )
    return [
        re.sub(r"^it ", "", part) for part in re.split(r", (?=is |has |no )| and (?=it |is |has |no )", bare)
    ]


def a_change(seed: int, category: str, changes: int) -> tuple[Garment, Garment, list[str]]:
    random = Random(seed)
    reference = random_garment(category, random)
    target = varied(reference, changes, random)
    return reference, target, relative_captions(reference, target, random)


any_change = given(
    seed=st.integers(0, 10**9), category=st.sampled_from(CATEGORIES), changes=st.integers(1, 3)
)


@settings(max_examples=300, deadline=None)
@any_change
def test_captions_speak_of_true_changes_only(seed: int, category: str, changes: int) -> None:
    reference, target, captions = a_change(seed, category, changes)
    changed = differences(reference, target)
    for caption in captions:
        for clause in clauses(caption):
            for attribute, words in SPEAKS_OF.items():
                if re.search(words, clause):
                    assert attribute in changed, (clause, changed)
            assert_true(clause, reference, target)


def assert_true(clause: str, reference: Garment, target: Garment) -> None:
    """Hold one clause against the two garments it speaks of."""
    denied = re.search(r"(instead of|not|without( the| a)?) ?(.*?)( but .*)?$", clause)
    gone = denied[3] if denied else ""
    said = clause.replace(denied[0], denied[4] or "") if denied else clause
    if "but" in clause:
        said = clause[clause.index("but") :]
    for colour in COLOURS:
        if re.search(rf"\b{colour}\b", said):
            assert colour == target.colour or (colour == target.accent and shows(target, "accent")), clause
        if re.search(rf"\b{colour}\b", gone):
            assert colour in (reference.colour, reference.accent), clause
            assert colour not in (target.colour,) or colour == reference.accent, clause
    for pattern, words in PATTERNS_IN_WORDS.items():
        if re.search(words, said) and not said.startswith(("has no", "no ")):
            assert target.pattern == pattern, clause
        elif re.search(words, gone) or re.search(words, clause):
            assert reference.pattern == pattern, clause
    for motif in CHOICES["print"]:
        if motif == "none" or not re.search(rf"\b{motif}\b", clause):
            continue
        if re.search(rf"\b{motif}\b", said) and not said.startswith("has no"):
            assert target.print == motif, clause
        else:
            assert (reference.print, target.print != motif) == (motif, True), clause
    for word, order in (("longer", 1), ("shorter", -1)):
        if word in clause:
            attribute, values = ("sleeves", SLEEVES) if "sleeve" in clause else ("length", LENGTHS)
            step = values.index(getattr(target, attribute)) - values.index(getattr(reference, attribute))
            assert step * order > 0, clause
    if "belt" in clause:
        assert target.belt == (not re.search(r"no belt|without", clause)), clause
    if "pocket" in clause:
        assert target.pockets == ("no pockets" not in clause), clause
    if "sleeve" in clause:
        bare = re.search(r"no sleeves|without sleeves|is sleeveless", clause)
        assert (target.sleeves == "sleeveless") == bool(bare), clause
        named = re.search(r"(short|three-quarter|long) sleeves", clause)
        assert named is None or target.sleeves == named[1], clause


@settings(max_examples=200, deadline=None)
@any_change
def test_the_two_captions_never_name_the_whole_target(seed: int, category: str, changes: int) -> None:
    reference, target, captions = a_change(seed, category, changes)
    same = set(CHOICES) - set(differences(reference, target))
    assert len(same) >= len(CHOICES) - 3
    # Some unchanged attribute is named by neither: the captions alone do not describe the target.
    spoken = " ".join(clause for caption in captions for clause in clauses(caption))
    silent = [name for name in ("sleeves", "neckline", "pockets", "fit") if name in same]
    assert silent
    for name in silent:
        assert not re.search(SPEAKS_OF[name], spoken)


@settings(max_examples=200, deadline=None)
@any_change
def test_together_the_captions_say_something_of_every_change_or_leave_little_out(
    seed: int, category: str, changes: int
) -> None:
    _, _, captions = a_change(seed, category, changes)
    counted = [len(clauses(caption)) for caption in captions]
    assert all(1 <= count <= changes for count in counted)


def test_captions_are_as_varied_as_people_s() -> None:
    captions = [
        caption
        for queries in plan_wardrobe(3_000, 1).queries.values()
        for query in queries
        for caption in query.captions
    ]
    words = [len(caption.split()) for caption in captions]
    assert 3 < sum(words) / len(words) < 9
    assert max(words) < 30
    share: Counter[str] = Counter()
    for caption in captions:
        share["negated"] += bool(re.search(r"\b(no|not|without|less)\b", caption.lower()))
        share["compared"] += bool(re.search(r"\w+er\b|\bmore\b", caption))
        share["ended"] += caption.endswith(".")
        share["capital"] += caption[0].isupper()
    for kind, count in share.items():
        assert 0.05 < count / len(captions) < 0.6, kind
    assert len(set(captions)) > len(captions) // 2


def test_no_verb_is_missing_after_a_subject() -> None:
    captions = [c for c in islice(vocabulary_corpus(5, 2_000), 6_000) if "belt" in c or "no " in c]
    assert captions
    assert not [c for c in captions if re.search(r"(^it|^this one|and it|^the \w+) no ", c.lower())]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**9), category=st.sampled_from(CATEGORIES))
def test_a_description_is_true_of_its_garment(seed: int, category: str) -> None:
    random = Random(seed)
    garment = random_garment(category, random)
    text = describe(garment, random)
    assert garment.colour in text
    for colour in COLOURS:
        assert not re.search(rf"\b{colour}\b", text) or colour in (garment.colour, garment.accent)
    for pattern, words in PATTERNS_IN_WORDS.items():
        assert not re.search(words, text) or garment.pattern == pattern
    assert ("pockets" in text and "no pockets" not in text) <= garment.pockets
    assert ("belt" in text and "no belt" not in text) <= garment.belt


def test_the_vocabulary_holds_both_kinds_of_sentence_and_follows_from_its_seed() -> None:
    sentences = list(vocabulary_corpus(1, 50))
    assert len(sentences) == 150  # a description and two relative captions a garment
    assert sentences == list(vocabulary_corpus(1, 50))
    assert sentences != list(vocabulary_corpus(2, 50))


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_word_of_a_wardrobe_is_in_the_vocabulary(category: str) -> None:
    known = {word for text in vocabulary_corpus(1, 3_000) for word in re.findall(r"[a-z]+", text.lower())}
    plan = plan_wardrobe(1_500, 3)
    used = {
        word
        for (_, of), queries in plan.queries.items()
        if of == category
        for query in queries
        for caption in query.captions
        for word in re.findall(r"[a-z]+", caption.lower())
    }
    assert used <= known
