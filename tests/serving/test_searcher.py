"""A search is the method itself: what the Combiner makes of picture and words, against every picture."""

from __future__ import annotations

import gc
import io
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch.nn import functional

from cir_assets.models.combiner import pulled
from cir_assets.models.installation import EMBEDDED
from cir_assets.models.saving import load_combiner
from cir_assets.pictures.settings import Preprocessing
from cir_assets.serving.champions import Champions
from cir_assets.serving.export import BrokenExport, NothingExported, current, export
from cir_assets.serving.searcher import Searcher
from cir_assets.serving.uploads import RefusedInput, UnknownPicture, open_upload
from cir_assets.store.files import UNFINISHED, open_workshop
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


def test_an_uploaded_copy_of_a_picture_finds_what_the_picture_finds_and_itself_where_copies_are_wanted(
    searcher: Searcher, shop: Shop
) -> None:
    image, path = shop.pictures["image"][9], shop.pictures["path"][9]
    name = searcher.add_upload((PICTURES / path).read_bytes())
    found = searcher.search(image, TEXT, top=300).images
    assert searcher.search(name, TEXT, top=300).images == found
    with_copies = searcher.search(name, TEXT, top=300, copies=True).images
    assert set(with_copies) == set(shop.pictures["image"])
    assert [each for each in with_copies if each != image] == found


@pytest.fixture
def with_copies(shop: Shop) -> Shop:
    """Of pictures 5 and 20 the shop has three exact copies each, of picture 20 one in another category."""
    rows = torch.tensor([*range(len(shop.features)), 5, 5, 5, 20, 20, 20])
    categories = shop.pictures["category"][rows.tolist()].to_list()
    categories[-3] = next(each for each in categories if each != categories[20])
    pictures = shop.pictures[rows.tolist()].with_columns(
        image=pl.concat([shop.pictures["image"], pl.Series([f"copy{number}" for number in range(6)])]),
        category=pl.Series(categories),
    )
    more = replace(shop, pictures=pictures, features=shop.features[rows])
    more.promote(1)
    return more


@pytest.mark.parametrize("exact_up_to", [10**6, 100], ids=["exact", "approximate"])
def test_exact_copies_of_the_reference_are_no_answer_and_of_others_one_stands_for_all(
    shop: Shop, with_copies: Shop, exact_up_to: int
) -> None:
    if exact_up_to == 100:
        pytest.importorskip("faiss", reason="faiss-cpu is an extra: pip install 'cir-assets[approximate]'")
    searcher = Searcher(current(with_copies.storage / PLACE), with_copies.storage, exact_up_to=exact_up_to)
    if searcher.index.approximate is not None:
        searcher.index.approximate.nprobe = searcher.index.approximate.nlist
    reference, twice = shop.pictures["image"][5], shop.pictures["image"][20]
    order = ranked(shop, searcher, 5)
    found = searcher.search(reference, TEXT, top=200)
    assert found.images == order[:200]
    assert {image: further for image, further in zip(found.images, found.copies, strict=True) if further} == (
        {twice: 3} if twice in order[:200] else {}
    )
    for asked in ("copy1", searcher.add_upload((PICTURES / shop.pictures["path"][5]).read_bytes())):
        assert searcher.search(asked, TEXT, top=200).images == order[:200]
    place = order.index(twice) + 1
    for target in (twice, "copy4"):
        meant = searcher.search(reference, TEXT, target=target)
        assert (meant.target_rank, meant.target_image) == (place, twice)
    of_reference = searcher.search(reference, TEXT, target="copy0")
    assert (of_reference.target_rank, of_reference.target_image) == (None, None)
    everything = searcher.search(reference, TEXT, top=200, copies=True)
    assert {"copy0", "copy1", "copy2"} <= set(everything.images[:20])
    assert reference not in everything.images
    assert searcher.search(reference, TEXT, target="copy4", copies=True).target_image == "copy4"


def test_a_category_shows_the_copy_that_it_has(shop: Shop, with_copies: Shop) -> None:
    searcher = Searcher(current(with_copies.storage / PLACE), with_copies.storage)
    first, twice = shop.pictures["image"][0], shop.pictures["image"][20]
    there = searcher.category("copy3")
    assert there != searcher.category(twice)
    found = searcher.search(first, TEXT, top=200, category=there, target=twice)
    assert "copy3" in found.images
    assert twice not in found.images
    assert found.target_image == "copy3"
    own = searcher.search(first, TEXT, top=200, category=searcher.category(twice))
    assert twice in own.images
    assert not {"copy3", "copy4", "copy5"} & set(own.images)


def test_hundreds_of_copies_leave_no_fewer_answers(shop: Shop) -> None:
    """As where a supplier's "no picture yet" stands for half of the articles."""
    pytest.importorskip("faiss", reason="faiss-cpu is an extra: pip install 'cir-assets[approximate]'")
    rows = torch.tensor([*range(len(shop.features)), *[20] * 600])
    names = pl.concat([shop.pictures["image"], pl.Series([f"none{number}" for number in range(600)])])
    pictures = shop.pictures[rows.tolist()].with_columns(image=names)
    replace(shop, pictures=pictures, features=shop.features[rows]).promote(1)
    searcher = Searcher(current(shop.storage / PLACE), shop.storage, exact_up_to=100)
    assert searcher.index.approximate is not None
    searcher.index.approximate.nprobe = searcher.index.approximate.nlist
    found = searcher.search(shop.pictures["image"][20], "is the same", top=50, pull=-1)
    assert len(found.images) == 50
    assert not set(names[300:]) & set(found.images)


def test_models_are_in_memory_whatever_becomes_of_their_files(shop: Shop) -> None:
    """A weights file is read through a window; one cut short under it would end the process with a bus error."""
    folder = shop.storage / "backbones" / "tiny_clip"
    folder.unlink()
    shutil.copytree(EMBEDDED / "tiny_clip", folder)
    searcher = Searcher(current(shop.storage / PLACE), shop.storage)
    mapped = Path("/proc/self/maps")
    if not mapped.is_file():
        pytest.skip("only Linux tells what a process looks into")
    gc.collect()
    assert str(folder) not in mapped.read_text()
    with (folder / "model.safetensors").open("r+b") as weights:
        weights.truncate(100)
    own = searcher.add_upload((PICTURES / shop.pictures["path"][9]).read_bytes())
    assert len(searcher.search(own, TEXT).images) == 24


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

    def watched(content: bytes) -> Image.Image:
        most.append(under_way.acquire(blocking=False))
        time.sleep(0.02)
        under_way.release()
        return open_upload(content)

    monkeypatch.setattr("cir_assets.serving.uploads.open_upload", watched)
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
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "did not arrive whole"),
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
    with open_workshop(shop.storage / PLACE / "version8") as killed:
        shutil.copytree(killed, killed.with_name(f".version8.of_the_killed{UNFINISHED}"))
    with open_workshop(shop.storage / PLACE / "version9") as living:
        for seed in (2, 3, 4):
            shop.promote(seed)
        there = sorted(each.name for each in (shop.storage / PLACE).iterdir())
        # What is still being written is neither removed nor counted among the two.
        assert there == [living.name, "current.json", "version3", "version4"]
    assert current(shop.storage / PLACE).name == "version4"


def test_features_and_pictures_must_fit(shop: Shop) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        export(shop.storage / PLACE, "x", shop.about, shop.features[1:], shop.pictures, shop.pictures)


def test_words_alone_and_a_picture_alone_find_what_lies_next_to_their_features(
    shop: Shop, searcher: Searcher
) -> None:
    features = functional.normalize(torch.from_numpy(shop.features), dim=1)
    words = functional.normalize(searcher.backbone.text_features([TEXT]), dim=1)
    images = shop.pictures["image"]
    for answer, query, out, weight in (
        (searcher.search(None, TEXT, top=9), words[0], [], 1.0),
        (searcher.search(images[5], None, top=9), features[5], [5], 0.0),
    ):
        scores = features @ query
        scores[out] = -1
        assert answer.images == [images[row] for row in scores.argsort(descending=True)[:9].tolist()]
        assert (answer.text_weight, answer.text_weight_used) == (None, weight)
    with pytest.raises(RefusedInput, match="bring a picture, or say in words"):
        searcher.search(None, None)


def test_the_query_moves_away_from_what_is_not_meant_which_is_no_answer(
    shop: Shop, searcher: Searcher
) -> None:
    before = searcher.search(shop.pictures["image"][5], TEXT, top=200)
    away = searcher.search(shop.pictures["image"][5], TEXT, top=200, unlike=tuple(before.images[:2]))
    assert not set(before.images[:2]) & set(away.images)
    features = dict(
        zip(shop.pictures["image"], functional.normalize(torch.from_numpy(shop.features)), strict=True)
    )
    middle = sum(features[image] for image in before.images[:2]) / 2
    # Of two that were as near before, the one less like those two is now ahead.
    gone = {image: place for place, image in enumerate(away.images)}
    moved = [gone[image] - place for place, image in enumerate(before.images[2:]) if image in gone]
    likeness = [float(features[image] @ middle) for image in before.images[2:] if image in gone]
    assert np.corrcoef(moved, likeness)[0, 1] > 0.3
    with pytest.raises(UnknownPicture, match="W-none"):
        searcher.search(None, TEXT, unlike=("W-none",))
    with pytest.raises(RefusedInput, match="at most 50 pictures"):
        searcher.search(None, TEXT, unlike=tuple(before.images[:51]))


def test_what_the_text_encoder_was_not_given_of_a_long_text_is_told(searcher: Searcher) -> None:
    context = searcher.backbone.context_length
    read = "red " * (context - 2)
    assert len(searcher.backbone.tokenise([read])[0]) == context
    assert searcher.search(None, read).unread is None
    long = searcher.search(None, read + "and blue")
    assert long.unread == "and blue"
    assert long.scores == searcher.search(None, read + "and green").scores


def test_features_of_another_backbone_than_is_there_are_not_searched_with(shop: Shop) -> None:
    about = replace(shop.about, backbone_version="0123456789abcdef")
    replace(shop, about=about).promote(2)
    with pytest.raises(
        BrokenExport,
        match=r"made by version 0123456789abcdef of tiny_clip, and backbones/tiny_clip holds version .* materialize "
        r"the asset boutique/tiny_clip/small/search again",
    ):
        Searcher(current(shop.storage / PLACE), shop.storage)


def test_processes_of_one_server_look_into_one_copy_of_the_features_and_have_uploads_in_common(
    shop: Shop, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    one, other = (Champions(shop.storage, shared=shared) for _ in range(2))
    first, second = one.of("boutique"), other.of("boutique")
    assert len(list(shared.iterdir())) == 1
    with (current(shop.storage / PLACE) / "features.npy").open("r+b") as features:
        features.truncate(100)
    name = first.add_upload((PICTURES / shop.pictures["path"][9]).read_bytes())
    assert second.search(name, TEXT).images == first.search(name, TEXT).images
    assert second.uploads.small(name, 64) == first.uploads.small(name, 64)
    # What is sent as the name of an upload is no path.
    with pytest.raises(UnknownPicture, match="send the picture again"):
        second.reference_feature("upload:../../etc/passwd")
    shop.promote(2)
    assert one.look() == other.look() == ["boutique/tiny_clip/small"]
    assert sorted(file.suffix for file in shared.iterdir()) == [".npy", ".upload"]
