"""The search page in a real browser: pick, type, search, go on, go back, upload, and a bad upload."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlparse

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from cir_assets.client import Search
from cir_assets.serving.champions import Champions
from cir_assets.serving.uploads import LARGEST_UPLOAD
from tests.serving.conftest import PICTURES, Shop, served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium"
)


@pytest.fixture(scope="module")
def pages() -> Iterator[list[Page]]:
    """One browser; what it complained about is an error."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
        )
        yield [browser.new_context(viewport={"width": 1280, "height": 900}).new_page()]
        browser.close()


@pytest.fixture
def page(pages: list[Page], address: str) -> Iterator[Page]:
    [shown] = pages
    complaints: list[str] = []
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.goto(address)
    expect(shown.locator("#results li").first).to_be_visible()
    yield shown
    assert complaints == []


def searched(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.click("#go")
    expect(page.locator("#heading")).to_have_text("What you may mean")
    expect(page.locator("#results .score").first).not_to_be_empty()


def test_pick_type_search_and_go_on_from_a_result_and_back(page: Page) -> None:
    page.locator("#results button").nth(4).click()
    expect(page.locator("#reference")).to_be_visible()
    searched(page, "is red and has longer sleeves")
    expect(page.locator("#said")).to_contain_text("300 pictures compared in")
    expect(page.locator("#weight")).to_contain_text("learnt 0.")
    expect(page.locator("#results li")).to_have_count(48)
    first = page.locator("#reference-name").inner_text()
    chosen = page.locator("#results button").nth(2).get_attribute("title")
    page.locator("#results button").nth(2).click()
    expect(page.locator("#reference-name")).to_have_text(str(chosen))
    searched(page, "with a belt")
    expect(page.locator("#trail button")).to_have_text(["is red and has longer sleeves"])
    page.locator("#trail button").click()
    expect(page.locator("#reference-name")).to_have_text(first)
    expect(page.locator("#text")).to_have_value("is red and has longer sleeves")
    page.go_back()
    expect(page.locator("#reference-name")).to_have_text(str(chosen))


def test_words_typed_before_a_picture_is_picked_stay_and_are_searched_with(page: Page) -> None:
    page.fill("#text", "with stripes")
    page.select_option("#category", "shirt")
    expect(page.locator("#said")).to_contain_text("of 100 pictures")
    expect(page.locator("#text")).to_have_value("with stripes")
    page.locator("#results button").nth(2).click()
    expect(page.locator("#heading")).to_have_text("What you may mean")
    expect(page.locator("#text")).to_have_value("with stripes")
    assert parse_qs(urlparse(page.url).query)["text"] == ["with stripes"]
    # Words typed over those searched with go on with the result clicked.
    page.fill("#text", "with dots")
    page.locator("#results button").nth(1).click()
    expect(page.locator("#trail button")).to_have_text(["with stripes"])
    expect(page.locator("#text")).to_have_value("with dots")
    page.set_input_files("#file", PICTURES / "shirt" / "W007YL3TR2.png")
    expect(page.locator("#reference-name")).to_have_text("your picture")
    expect(page.locator("#text")).to_have_value("with dots")


def test_the_picture_meant_is_framed_wherever_it_ranks_until_the_words_change(
    page: Page, served_shop: tuple[Shop, str]
) -> None:
    shop, address = served_shop
    page.locator("#examples button").first.click()
    expect(page.locator("#said")).to_contain_text("The picture meant is at rank")
    told = parse_qs(urlparse(page.url).query)
    assert told["target"] == [shop.pictures["image"][2]]
    client, text = Search(address), told["text"][0]
    order = client.search("boutique", told["reference"][0], text, top=200)
    for place, cards in ((3, 48), (150, 49)):
        link = {"dataset": "boutique", "reference": told["reference"][0], "text": text}
        page.goto(f"{address}/?{urlencode({**link, 'target': order[place - 1].image})}")
        expect(page.locator("#results li")).to_have_count(cards)
        expect(page.locator(".meant")).to_have_count(1)
        expect(page.locator(".meant .rank")).to_have_text(f"{place} · meant")
        assert page.locator(".meant").get_attribute("title") == order[place - 1].image
    assert page.locator("#results button").last.get_attribute("class") == "meant"
    page.fill("#text", "is quite another one")
    page.locator("#pull").fill("20")
    page.locator("#pull").dispatch_event("change")
    expect(page.locator(".meant")).to_have_count(0)
    expect(page.locator("#said")).not_to_contain_text("meant")


def test_the_recall_of_an_approximate_index_is_shown(page: Page, served_shop: tuple[Shop, str]) -> None:
    pytest.importorskip("faiss", reason="faiss-cpu is an extra: pip install 'cir-assets[approximate]'")
    shop, _ = served_shop
    with served(Champions(shop.storage, exact_up_to=100)) as address:
        [told] = Search(address).datasets()
        assert 0.5 < told["index_recall"] <= 1
        page.goto(f"{address}/?{urlencode({'reference': shop.pictures['image'][0], 'text': 'is red'})}")
        expect(page.locator("#said")).to_contain_text("300 pictures looked through")
        shown = f"approximate index, recall at 50 {100 * told['index_recall']:.1f} %"
        expect(page.locator("#model")).to_contain_text(shown)


def test_a_link_reproduces_what_was_found(page: Page) -> None:
    page.locator("#results button").nth(7).click()
    searched(page, "is shorter")
    page.locator("#pull").fill("60")
    page.locator("#pull").dispatch_event("change")
    expect(page.locator("#weight")).to_contain_text("pulled to 0.")
    found = page.locator("#results button").evaluate_all("all => all.map(each => each.title)")
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#weight")).to_contain_text("pulled to 0.")
    assert other.locator("#results button").evaluate_all("all => all.map(each => each.title)") == found
    assert other.input_value("#pull") == "60"
    other.close()


def test_an_upload_becomes_the_reference_and_a_bad_one_is_explained(
    page: Page, tmp_path: Path, served_shop: tuple[Shop, str]
) -> None:
    bad = tmp_path / "letter.png"
    bad.write_bytes(b"Dear Sir or Madam")
    with bad.with_name("endless.png").open("wb") as endless:
        endless.truncate(50_000_000)
    page.set_input_files("#file", endless.name)
    expect(page.locator("#wrong")).to_have_text(
        f"endless.png has 50 MB; at most {LARGEST_UPLOAD / 1e6:.0f} MB are taken. Bring a smaller picture."
    )
    page.set_input_files("#file", bad)
    expect(page.locator("#wrong")).to_contain_text("no picture that opens")
    page.set_input_files("#file", PICTURES / served_shop[0].pictures["path"][0])
    expect(page.locator("#reference-name")).to_have_text("your picture")
    expect(page.locator("#wrong")).to_be_hidden()
    searched(page, "is blue")


def test_nothing_typed_or_picked_is_told_and_hostile_words_are_only_words(page: Page) -> None:
    page.click("#go")
    expect(page.locator("#wrong")).to_have_text("Pick or upload a picture first.")
    page.locator("#results button").first.click()
    page.click("#go")
    expect(page.locator("#wrong")).to_contain_text("Say what should differ")
    hostile = "<img src=x onerror=document.title='owned'>"
    searched(page, hostile)
    page.locator("#results button").first.click()
    expect(page.locator("#trail button")).to_have_text([hostile])
    expect(page.locator("#examples button").nth(1)).to_contain_text("<b>is shorter</b>")
    assert page.title() == "cir_assets search"


def test_a_category_narrows_the_gallery_and_the_results(page: Page) -> None:
    page.select_option("#category", "shirt")
    expect(page.locator("#said")).to_contain_text("of 100 pictures")
    page.locator("#results button").first.click()
    searched(page, "is red")
    expect(page.locator("#said")).to_contain_text("100 pictures compared")


def test_it_is_used_by_keyboard_alone_and_read_on_a_phone(page: Page) -> None:
    page.locator("#results button").nth(3).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.type("has stripes")
    page.keyboard.press("Enter")
    expect(page.locator("#heading")).to_have_text("What you may mean")
    page.set_viewport_size({"width": 375, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.set_viewport_size({"width": 1280, "height": 900})
    unnamed = page.locator("select, input, textarea, button, img:not([alt])").evaluate_all(
        """all => all.filter(each => each.tagName === "IMG" || !(each.labels?.length || each.innerText?.trim()
        || each.title || each.getAttribute("aria-label"))).map(each => each.outerHTML)"""
    )
    assert unnamed == []
