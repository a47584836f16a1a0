"""Texts that wait are encoded together, and each gets what it would have got alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest
import torch

from cir_assets.models.backbone import Backbone
from cir_assets.models.installation import EMBEDDED
from cir_assets.serving.encoding import MOST_TOGETHER, TextEncoding

TEXTS = [f"is {'much ' * (number % 9)}redder than number {number}" for number in range(70)]


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone.load(EMBEDDED / "tiny_clip", "cpu")


@pytest.fixture
def encoding() -> Iterator[TextEncoding]:
    encoding = TextEncoding()
    yield encoding
    encoding.stop()


@pytest.fixture
def together(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was encoded together, in order."""
    seen: list[list[str]] = []
    own = Backbone.text_features

    def watched(self: Backbone, captions: Sequence[str], *more: int) -> torch.Tensor:
        seen.append(list(captions))
        if "breaks" in captions:
            raise ZeroDivisionError
        return own(self, captions, *more)

    monkeypatch.setattr(Backbone, "text_features", watched)
    return seen


def test_what_waits_is_encoded_together_as_each_is_alone_but_for_rounding(
    backbone: Backbone, encoding: TextEncoding, together: list[list[str]]
) -> None:
    asked = [encoding.submit(backbone, text) for text in TEXTS]
    encoding.start()
    features = torch.stack([each.result(60) for each in asked])
    assert [len(each) for each in together] == [MOST_TOGETHER, MOST_TOGETHER, 6]
    alone = torch.cat([backbone.text_features([text]) for text in TEXTS])
    torch.testing.assert_close(features, alone, atol=1e-5, rtol=1e-4)


def test_who_asks_alone_waits_for_nobody(
    backbone: Backbone, encoding: TextEncoding, together: list[list[str]]
) -> None:
    encoding.start()
    for text in TEXTS[:3]:
        encoding.submit(backbone, text).result(60)
    assert together == [[text] for text in TEXTS[:3]]


def test_texts_of_two_champions_are_kept_apart(
    backbone: Backbone, encoding: TextEncoding, together: list[list[str]]
) -> None:
    other = Backbone.load(EMBEDDED / "tiny_clip", "cpu")
    asked = [encoding.submit((backbone, other)[number % 2], TEXTS[number]) for number in range(6)]
    encoding.start()
    assert all(each.result(60).shape == (backbone.feature_dimension,) for each in asked)
    assert together == [TEXTS[0:6:2], TEXTS[1:6:2]]


def test_one_that_fails_fails_alone_and_one_nobody_waits_for_is_left_out(
    backbone: Backbone, encoding: TextEncoding, together: list[list[str]]
) -> None:
    asked = [encoding.submit(backbone, text) for text in ("is red", "breaks", "is blue", "is gone")]
    assert asked[3].cancel()
    encoding.start()
    assert asked[0].result(60).isfinite().all()
    assert asked[2].result(60).isfinite().all()
    with pytest.raises(ZeroDivisionError):
        asked[1].result(60)
    assert together == [["is red", "breaks", "is blue"], ["is red"], ["breaks"], ["is blue"]]


def test_it_ends_when_told_to(backbone: Backbone) -> None:
    encoding = TextEncoding()
    asked = encoding.submit(backbone, "is red")
    encoding.stop()
    encoding.start()
    assert asked.result(60).shape == (backbone.feature_dimension,)
    for thread in threading.enumerate():
        if thread.name == "encode texts":
            thread.join(20)
            assert not thread.is_alive()
