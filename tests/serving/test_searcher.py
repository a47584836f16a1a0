"""A search is the method itself: what the Combiner makes of picture and words, against every picture."""

from __future__ import annotations

import io
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from cir_assets.models.combiner import pulled
from cir_assets.models.saving import load_combiner
from cir_assets.pictures.opening import open_picture
from cir_assets.pictures.settings import Preprocessing
from cir_assets.serving.export import NothingExported, current, export
from cir_assets.serving.searcher import Searcher
from cir_assets.serving.uploads import RefusedInput, UnknownPicture
from cir_assets.store.files import UNFINISHED, unfinished
from tests.serving.conftest import PICTURES, PLACE, Shop

TEXT = "is red and has longer sleeves"


@pytest.fixture
def searcher(shop: Shop) -> Searcher:
    return Searcher(current(shop.storage / PLACE), shop.storage)


def ranked(shop: Shop, searcher: Searcher, row: int, pull: float = 0.0) -> list[str]:
    """Every picture but the reference, by brute force from raw features."""
    combiner = load_combiner(shop.storage / "models" / "combiner1")
    words = searcher.backbone.text_features([TEXT])
    features = torch.from_numpy(shop.features)
    with torch.no_grad():
        query, _ = combiner.combine(features[row : row + 1], words, pull)
    scores = (functional.normalize(features, dim=1) @ query[0]).numpy()
    return [shop.pictures["image"][i] for i in np.argsort(-scores, kind="stable").tolist() if i != row]


@pytest.mark.parametrize("pull", [-1.0, -0.4, 0.0, 0.7, 1.0])
def test_the_best_pictures_are_those_the_combiner_ranks_first(
    shop: Shop, searcher: Searcher, pull: float
) -> None:
    answer = searcher.search(shop.pictures["image"][5], TEXT, top=20, pull=pull)
    assert answer.images == ranked(shop, searcher, 5, pull)[:20]
    assert answer.scores == sorted(answer.scores, reverse=True)
    assert answer.searched == shop.pictures.height


def test_the_rank_told_is_the_targets_place(shop: Shop, searcher: Searcher) -> None:
    order = ranked(shop, searcher, 5)
    for place in (0, 17, len(order) - 1):
        answer = searcher.search(shop.pictures["image"][5], TEXT, target=order[place])
        assert answer.target_rank == place + 1


def test_a_category_narrows_pictures_and_ranks(shop: Shop, searcher: Searcher) -> None:
    inside = [image for image in ranked(shop, searcher, 5) if searcher.category(image) == "shirt"]
    answer = searcher.search(shop.pictures["image"][5], TEXT, category="shirt", target=inside[3])
    assert answer.images == inside[:24]
    assert answer.target_rank == 4
    other = next(image for image in shop.pictures["image"] if searcher.category(image) == "dress")
    assert (
        searcher.search(shop.pictures["image"][5], TEXT, category="shirt", target=other).target_rank is None
    )


def test_the_pull_takes_lambda_from_picture_to_text(searcher: Searcher, shop: Shop) -> None:
    weights = [
        searcher.search(shop.pictures["image"][0], TEXT, pull=pull) for pull in (-1.0, -0.5, 0.0, 0.5, 1.0)
    ]
    used = [answer.text_weight_used for answer in weights]
    assert used[0] == 0
    assert used[-1] == 1
    assert used == sorted(used)
    assert used[2] == weights[2].text_weight
    assert len({answer.text_weight for answer in weights}) == 1
    assert pulled(torch.tensor(0.25), 0.5) == 0.625


def test_an_uploaded_copy_of_a_picture_finds_what_the_picture_finds_and_itself(
    searcher: Searcher, shop: Shop
) -> None:
    image, path = shop.pictures["image"][9], shop.pictures["path"][9]
    name = searcher.add_upload((PICTURES / path).read_bytes())
    answer = searcher.search(name, TEXT, top=300)
    assert set(answer.images) == set(shop.pictures["image"])
    without_itself = [found for found in answer.images if found != image]
    assert without_itself == searcher.search(image, TEXT, top=300).images


def test_an_upload_is_shown_upright_as_small_as_asked_and_prepared_once_for_each_encoder(
    searcher: Searcher,
) -> None:
    picture, turned, buffer = Image.new("RGB", (800, 400), "red"), Image.Exif(), io.BytesIO()
    turned[0x0112] = 6
    picture.save(buffer, "JPEG", exif=turned)
    name = searcher.add_upload(buffer.getvalue())
    sizes = [Image.open(io.BytesIO(searcher.uploads.small(name, side))).size for side in (64, 512, 1024)]
    assert sizes == [(32, 64), (256, 512), (256, 512)]
    other = Preprocessing(32, "squarepad", 1.0, 10**8)
    assert searcher.uploads.pixels(name, other).shape == (32, 32, 3)
    assert searcher.uploads.pixels(name, other) is searcher.uploads.pixels(name, other)


def test_a_picture_whose_cameras_notes_are_broken_is_shown_as_stored(searcher: Searcher) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (80, 40), "red").save(buffer, "WEBP", exif=b"MM\0C\0\0\0\x08")
    name = searcher.add_upload(buffer.getvalue())
    assert Image.open(io.BytesIO(searcher.uploads.small(name, 64))).size == (64, 32)


def test_two_uploads_are_decoded_at_once(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, most = threading.Semaphore(2), []

    def watched(*given: Any, **named: Any) -> Image.Image:
        most.append(under_way.acquire(blocking=False))
        time.sleep(0.02)
        under_way.release()
        return open_picture(*given, **named)

    monkeypatch.setattr("cir_assets.serving.uploads.open_picture", watched)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    with ThreadPoolExecutor(8) as people:
        assert (
            len(set(people.map(lambda n: searcher.add_upload(buffer.getvalue() + bytes([n])), range(8)))) == 8
        )
    assert most == [True] * 8


def test_uploads_take_no_more_bytes_than_stated(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cir_assets.serving.uploads.KEPT_BYTES", 1_000)
    names = []
    for shade in range(3):
        buffer = io.BytesIO()
        Image.new("L", (8, 8), shade).save(buffer, "PNG")
        names.append(searcher.add_upload(buffer.getvalue() + b"\0" * 400))
    with pytest.raises(UnknownPicture, match="send the picture again"):
        searcher.search(names[0], TEXT)
    searcher.search(names[1], TEXT)


def test_only_the_newest_uploads_are_kept(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cir_assets.serving.uploads.KEPT_UPLOADS", 9)
    names = []
    for number in range(10):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (number, 0, 0)).save(buffer, "PNG")
        names.append(searcher.add_upload(buffer.getvalue()))
    with pytest.raises(UnknownPicture, match="send the picture again"):
        searcher.search(names[0], TEXT)
    searcher.search(names[1], TEXT)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>no picture</html>", "no picture that opens"),
        (b"", "no picture that opens"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "no picture that opens"),
        (b"\0" * 20_000_001, "more than 20 MB"),
    ],
    ids=["HTML", "nothing", "half a PNG", "too large"],
)
def test_what_is_no_picture_is_refused_in_a_sentence(searcher: Searcher, content: bytes, said: str) -> None:
    with pytest.raises(RefusedInput, match=said):
        searcher.add_upload(content)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "say what should differ"),
        ("  \n ", "say what"),
        ("\u200b\ufeff\u200d", "say what"),
        ("red \ud800", "half a character"),
        ("x" * 1001, "at most 1,000"),
    ],
)
def test_empty_or_endless_text_is_refused(searcher: Searcher, shop: Shop, text: str, said: str) -> None:
    with pytest.raises(RefusedInput, match=said):
        searcher.search(shop.pictures["image"][0], text)


def test_what_is_not_there_is_named(searcher: Searcher, shop: Shop) -> None:
    with pytest.raises(UnknownPicture, match="boutique has no picture 'W-none'"):
        searcher.search("W-none", TEXT)
    with pytest.raises(UnknownPicture, match="'W-none'"):
        searcher.search(shop.pictures["image"][0], TEXT, target="W-none")
    with pytest.raises(RefusedInput, match="it has dress, shirt"):
        searcher.search(shop.pictures["image"][0], TEXT, category="hat")


def test_without_an_export_it_says_what_to_materialize(shop: Shop) -> None:
    with pytest.raises(NothingExported, match="materialize the asset boutique/tiny_clip/other/search"):
        current(shop.storage / "search" / "boutique" / "tiny_clip" / "other")


def test_the_newest_two_versions_stay_and_nothing_half_written(shop: Shop) -> None:
    with unfinished(shop.storage / PLACE / "version8") as killed:
        shutil.copytree(killed, killed.with_name(f".version8.of_the_killed{UNFINISHED}"))
    with unfinished(shop.storage / PLACE / "version9") as living:
        for seed in (2, 3, 4):
            shop.promote(seed)
        there = sorted(each.name for each in (shop.storage / PLACE).iterdir())
        # What is still being written is neither removed nor counted among the two.
        assert there == [living.name, "current.json", "version3", "version4"]
    assert current(shop.storage / PLACE).name == "version4"


def test_features_and_pictures_must_fit(shop: Shop) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        export(shop.storage / PLACE, "x", shop.about, shop.features[1:], shop.pictures, shop.pictures)
