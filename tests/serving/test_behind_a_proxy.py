"""The page and the API below a path of a shared host, behind real proxies, in a real browser."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import numpy as np
import pytest
import requests
from PIL import Image
from playwright.sync_api import Page, expect

from cir_assets.client import Search
from cir_assets.serving.champions import Champions
from tests.reverse_proxy import KINDS, is_installed, reverse_proxy
from tests.serving.conftest import PICTURES, Shop, free_port, served
from tests.serving.test_app import NAMES, is_safe, odd_shop
from tests.serving.test_page import CHROMIUM, pages, searched

__all__ = ["odd_shop", "pages"]

TEXT = "is red and has longer sleeves"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of proxy."""
    kind: str = request.param
    if not is_installed(kind):
        pytest.skip(f"no {kind} on this machine: install Debian's package {kind}")
    return kind


@pytest.fixture
def proxied(address: str, kind: str, tmp_path: Path) -> Iterator[str]:
    """The shop's address behind it."""
    with reverse_proxy(kind, int(address.rpartition(":")[2]), free_port(), tmp_path) as shown:
        yield shown


def test_a_program_searches_brings_a_picture_and_sees_what_was_found(
    proxied: str, served_shop: tuple[Shop, str]
) -> None:
    shop, direct = served_shop
    image, path = shop.pictures["image"][0], PICTURES / shop.pictures["path"][0]
    client = Search(proxied)
    by_id, by_file = (client.search("boutique", reference, TEXT) for reference in (image, path))
    assert by_id == Search(direct).search("boutique", image, TEXT)
    assert [each.image for each in by_file] == [each.image for each in by_id]
    asked = {"dataset": "boutique", "reference": image, "text": TEXT}
    found = requests.post(f"{proxied}search", json=asked, timeout=20).json()["results"][0]
    shown = requests.get(urljoin(f"{proxied}search", found["url"]), timeout=20)
    assert shown.headers["Content-Type"] == "image/jpeg"
    assert is_safe(shown)
    described = requests.get(f"{proxied}openapi.json", timeout=20).json()
    assert urljoin(f"{proxied}openapi.json", described["servers"][0]["url"]) == proxied
    refused = requests.get(f"{proxied}nothing", timeout=20)
    assert (refused.status_code, refused.json().keys()) == (404, {"error"})
    assert requests.head(f"{proxied}datasets", timeout=20).status_code == 200


def test_pictures_of_any_name_are_shown(odd_shop: Shop, kind: str, tmp_path: Path) -> None:
    with (
        served(Champions(odd_shop.storage)) as address,
        reverse_proxy(kind, int(address.rpartition(":")[2]), free_port(), tmp_path) as proxied,
    ):
        found = requests.get(f"{proxied}gallery", {"dataset": "boutique"}, timeout=20).json()["pictures"]
        assert [each["image"] for each in found] == list(NAMES)
        for number, each in enumerate(found):
            answer = requests.get(urljoin(f"{proxied}gallery", each["url"]), timeout=20)
            assert answer.status_code == 200, each
            [shade, _, _] = np.asarray(Image.open(io.BytesIO(answer.content))).mean(axis=(0, 1))
            assert shade == pytest.approx(40 * number, abs=3)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium")
def test_the_page_works_below_a_path(proxied: str, pages: list[Page], served_shop: tuple[Shop, str]) -> None:
    [page] = pages
    asked: list[tuple[str, int]] = []
    page.on("response", lambda answer: asked.append((answer.url, answer.status)))
    page.goto(proxied)
    expect(page.locator("#results li").first).to_be_visible()
    page.locator("#results .pick").nth(4).click()
    searched(page, "is red")
    page.locator("#results .pick").nth(2).click()
    expect(page.locator("#trail img")).to_have_count(1)
    page.click("#home")
    page.locator("#examples button").first.click()
    expect(page.locator("#said")).to_contain_text("The picture meant is at rank")
    page.set_input_files("#file", PICTURES / served_shop[0].pictures["path"][0])
    expect(page.locator("#reference-name")).to_have_text("your picture")
    for image in ("#reference", "#results img"):
        page.wait_for_function(
            "name => document.querySelector(name).complete && document.querySelector(name).naturalWidth > 0",
            arg=image,
        )
    page.reload()
    expect(page.locator("#reference-name")).to_have_text("your picture")
    assert {status for _, status in asked} <= {200, 201, 304}
    assert all(
        urlsplit(url).path.startswith("/cir/") for url, _ in asked if not url.startswith(("data:", "blob:"))
    )
