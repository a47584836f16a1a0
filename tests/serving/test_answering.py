"""Questions that wait are answered together, and each gets what it would have got alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from cir_assets.serving.answering import MOST_TOGETHER, Answering
from cir_assets.serving.export import current
from cir_assets.serving.searcher import Answer, Question, Searcher
from cir_assets.serving.uploads import RefusedInput, UnknownPicture
from tests.serving.conftest import PLACE, Shop


@pytest.fixture(scope="module")
def searcher(served_shop: tuple[Shop, str]) -> Searcher:
    return Searcher(current(served_shop[0].storage / PLACE), served_shop[0].storage)


@pytest.fixture
def answering() -> Iterator[Answering]:
    answering = Answering()
    yield answering
    answering.stop()


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[list[str | None]]:
    """Texts of what was answered together, in order."""
    seen: list[list[str | None]] = []
    own = Searcher.search_together

    def watched(
        self: Searcher, questions: Sequence[Question]
    ) -> list[Answer | RefusedInput | UnknownPicture]:
        seen.append([question.text for question in questions])
        if "breaks" in seen[-1]:
            raise ZeroDivisionError
        return own(self, questions)

    monkeypatch.setattr(Searcher, "search_together", watched)
    return seen


def questions(searcher: Searcher, count: int) -> list[Question]:
    """Of every kind: both, words alone, a picture alone, pulled, of a category, with a target, with some not meant."""
    images, _, _, _ = searcher.described(searcher.rows())
    kinds: tuple[dict[str, Any], ...] = (
        {},
        {"reference": None},
        {"text": None, "top": 7},
        {"pull": 0.5},
        {"category": "shirt", "target": images[150]},
        {"target": images[9]},
        {"copies": True, "unlike": (images[11], images[12])},
    )
    return [
        replace(
            Question(images[number], f"is {'much ' * (number % 9)}redder than number {number}"),
            **kinds[number % len(kinds)],
        )
        for number in range(count)
    ]


def test_what_waits_is_answered_together_as_each_is_alone_but_for_rounding(
    searcher: Searcher, answering: Answering, together: list[list[str | None]]
) -> None:
    waiting = questions(searcher, 70)
    asked = [answering.submit(searcher, question) for question in waiting]
    answering.start()
    answers = [each.result(60) for each in asked]
    assert [len(each) for each in together] == [MOST_TOGETHER, MOST_TOGETHER, 6]
    for question, answer in zip(waiting, answers, strict=True):
        [alone] = searcher.search_together([question])
        assert isinstance(alone, Answer)
        assert answer.scores == pytest.approx(alone.scores, abs=2e-6)
        assert answer.target_score == pytest.approx(alone.target_score, abs=2e-6)
        assert answer.text_weight == pytest.approx(alone.text_weight, abs=1e-5)
        assert set(answer.images[:5]) == set(alone.images[:5])
        assert len(answer.images) == question.top


def test_who_asks_alone_waits_for_nobody(
    searcher: Searcher, answering: Answering, together: list[list[str | None]]
) -> None:
    answering.start()
    for question in questions(searcher, 2):
        answering.submit(searcher, question).result(60)
    assert [len(each) for each in together] == [1, 1]


def test_one_that_fails_fails_alone_and_one_nobody_waits_for_is_left_out(
    searcher: Searcher, answering: Answering, together: list[list[str | None]]
) -> None:
    texts = ("is red", "breaks", "is blue", "is gone")
    asked = [answering.submit(searcher, Question(text=text)) for text in texts]
    unknown = answering.submit(searcher, Question("W-none", "is red"))
    assert asked[3].cancel()
    answering.start()
    assert len(asked[0].result(60).images) == len(asked[2].result(60).images) == 24
    with pytest.raises(ZeroDivisionError):
        asked[1].result(60)
    with pytest.raises(UnknownPicture, match="W-none"):
        unknown.result(60)
    assert together[:2] == [["is red", "breaks", "is blue", "is red"], ["is red"]]


def test_it_ends_when_told_to(searcher: Searcher) -> None:
    answering, before = Answering(), set(threading.enumerate())
    asked = answering.submit(searcher, Question(text="is red"))
    answering.start()
    assert len(asked.result(60).images) == 24
    [thread] = set(threading.enumerate()) - before
    answering.stop()
    thread.join(20)
    assert not thread.is_alive()
