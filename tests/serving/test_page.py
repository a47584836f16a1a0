"""The search page in a real browser: pick, paste, drop, type, search, go on, go back, keep, compare."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlparse

import polars as pl
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from cir_assets.client import Search
from cir_assets.serving.champions import Champions
from cir_assets.serving.export import export
from cir_assets.serving.uploads import LARGEST_UPLOAD
from cir_assets.store.contracts import SEARCH_EXAMPLES, empty
from tests.serving.conftest import PICTURES, Shop, served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium"
)

DELIVER = """([kind, content]) => {
    const bytes = Uint8Array.from(atob(content), each => each.charCodeAt(0));
    const carried = new DataTransfer();
    carried.items.add(new File([bytes], "mine.png", { type: "image/png" }));
    const event = kind === "paste" ? new ClipboardEvent("paste", { clipboardData: carried, bubbles: true })
        : new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true });
    document.querySelector("#results").dispatchEvent(event);
}"""
"""Paste or drop a picture on the results, as a browser does once a person has."""


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
    expect(page.locator("#said")).to_contain_text("compared in")


def names(page: Page) -> list[str]:
    """The pictures shown, in order."""
    found: list[str] = page.locator("#results .pick").evaluate_all("all => all.map(each => each.title)")
    return found


def content(path: str) -> str:
    return base64.b64encode((PICTURES / path).read_bytes()).decode()


def test_a_picked_picture_shows_those_like_it_at_once_then_words_then_on_from_a_result_and_back(
    page: Page,
) -> None:
    page.locator("#results .pick").nth(4).click()
    expect(page.locator("#heading")).to_have_text("Pictures like it")
    expect(page.locator("#results li")).to_have_count(48)
    searched(page, "is red and has longer sleeves")
    expect(page.locator("#said")).to_contain_text("300 pictures compared in")
    expect(page.locator("#weight")).to_contain_text("learnt 0.")
    first, chosen = page.locator("#reference-name").inner_text(), names(page)[2]
    page.locator("#results .pick").nth(2).click()
    expect(page.locator("#reference-name")).to_have_text(chosen)
    expect(page.locator("#heading")).to_have_text("Pictures like it")
    searched(page, "with a belt")
    steps = page.locator("#trail button")
    expect(steps).to_have_text(["is red and has longer sleeves"])
    steps.click()
    expect(page.locator("#reference-name")).to_have_text(first)
    expect(page.locator("#text")).to_have_value("is red and has longer sleeves")
    page.go_back()
    expect(page.locator("#reference-name")).to_have_text(chosen)


def test_words_alone_find_pictures_and_stay_when_one_is_picked(page: Page) -> None:
    page.fill("#text", "with stripes")
    page.click("#go")
    expect(page.locator("#heading")).to_have_text("What your words find")
    page.select_option("#category", "shirt")
    expect(page.locator("#said")).to_contain_text("100 pictures compared")
    page.locator("#results .pick").nth(2).click()
    expect(page.locator("#heading")).to_have_text("What you may mean")
    expect(page.locator("#text")).to_have_value("with stripes")
    assert parse_qs(urlparse(page.url).query)["text"] == ["with stripes"]
    # Words typed over those searched with go on with the result clicked.
    page.fill("#text", "with dots")
    page.locator("#results .pick").nth(1).click()
    expect(page.locator("#text")).to_have_value("with dots")
    expect(page.locator("#trail button")).to_have_count(2)


def test_one_starts_by_chance_or_by_a_name_and_says_what_others_often_say(
    page: Page, served_shop: tuple[Shop, str]
) -> None:
    before = names(page)
    assert before != served_shop[0].pictures["image"][:60].to_list()
    page.click("#shuffle")
    expect(page.locator("#results .pick").first).not_to_have_attribute("title", before[0])
    wanted = served_shop[0].pictures["image"][77]
    page.fill("#part", wanted[2:8].lower())
    expect(page.locator("#results .pick")).to_have_count(1)
    page.locator("#results .pick").click()
    expect(page.locator("#reference-name")).to_have_text(wanted)
    page.locator("#suggestions button", has_text="is red").click()
    expect(page.locator("#heading")).to_have_text("What you may mean")
    page.locator("#suggestions button", has_text="has long sleeves").click()
    expect(page.locator("#text")).to_have_value("is red and has long sleeves")


def test_the_picture_meant_is_framed_wherever_it_ranks_until_the_words_change(
    page: Page, served_shop: tuple[Shop, str]
) -> None:
    shop, address = served_shop
    expect(page.locator("#examples .quiet")).to_have_text(["found at 3", "not found: at 190"])
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
        expect(page.locator(".meant .pick")).to_have_attribute("title", order[place - 1].image)
    assert names(page)[-1] == order[149].image
    page.fill("#text", "is quite another one")
    page.locator("#pull").fill("20")
    page.locator("#pull").dispatch_event("change")
    expect(page.locator(".meant")).to_have_count(0)
    expect(page.locator("#said")).not_to_contain_text("meant")


def test_two_pipelines_stand_side_by_side_and_the_recall_of_an_approximate_index_is_shown(
    page: Page, shop: Shop
) -> None:
    pytest.importorskip("faiss", reason="faiss-cpu is an extra: pip install 'cir-assets[approximate]'")
    plain = replace(shop.about, recipe="plain", method="sum", models={}, champion=None, headline=None)
    examples = empty(SEARCH_EXAMPLES)
    beside = shop.storage / "search" / "boutique" / "tiny_clip" / "plain"
    export(beside, "one", plain, shop.features, shop.pictures, examples)
    with served(Champions(shop.storage, exact_up_to=100)) as address:
        told, _ = Search(address).datasets()
        assert 0.5 < told["index_recall"] <= 1
        reference, text = shop.pictures["image"][0], "is red"
        page.goto(f"{address}/?{urlencode({'reference': reference, 'text': text})}")
        expect(page.locator("#said")).to_contain_text("300 pictures looked through")
        shown = f"approximate index, recall at 50 {100 * told['index_recall']:.1f} %"
        expect(page.locator("#model")).to_contain_text(shown)
        page.select_option("#beside", "tiny_clip/plain")
        expect(page.locator("#second-name")).to_contain_text("tiny_clip/plain")
        found = page.locator("#results-beside .pick").evaluate_all("all => all.map(each => each.title)")
        asked = Search(address).search("boutique", reference, text, top=24, pipeline="tiny_clip/plain")
        assert found == [each.image for each in asked]
        page.select_option("#pipeline", "tiny_clip/plain")
        expect(page.locator("#second")).to_be_hidden()
        expect(page.locator("#model")).to_contain_text("No champion yet")


def test_a_link_reproduces_what_was_found(page: Page) -> None:
    page.locator("#results .pick").nth(7).click()
    searched(page, "is shorter")
    first = names(page)[0]
    page.locator("#results .away").first.click()
    expect(page.locator("#unlike button")).to_have_attribute("title", f"{first} may be meant after all")
    expect(page.locator("#results .pick").first).not_to_have_attribute("title", first)
    page.locator("#pull").fill("60")
    page.locator("#pull").dispatch_event("change")
    expect(page.locator("#weight")).to_contain_text("pulled to 0.")
    found = names(page)
    assert first not in found
    page.reload()
    expect(page.locator("#weight")).to_contain_text("pulled to 0.")
    assert names(page) == found
    assert page.input_value("#pull") == "60"
    page.locator("#unlike button").click()
    expect(page.locator("#unlike")).to_be_hidden()
    expect(page.locator(f"#results [title='{first}']")).to_be_visible()


def test_a_picture_is_uploaded_pasted_or_dropped_anywhere_and_a_bad_one_is_explained(
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
    references = set()
    for kind, path in zip(("paste", "drop"), served_shop[0].pictures["path"], strict=False):
        if kind == "drop":
            page.evaluate(DELIVER, ["dragover", content(path)])
            expect(page.locator("#drop")).to_be_visible()
        page.evaluate(DELIVER, [kind, content(path)])
        page.wait_for_url(lambda url: "upload" in url and url not in references)
        references.add(page.url)
        expect(page.locator("#heading")).to_have_text("Pictures like it")
    expect(page.locator("#drop")).to_be_hidden()
    page.set_input_files("#file", PICTURES / served_shop[0].pictures["path"][2])
    expect(page.locator("#reference-name")).to_have_text("your picture")
    expect(page.locator("#wrong")).to_be_hidden()
    expect(page.locator("#link")).to_be_hidden()
    searched(page, "is blue")
    assert len(references) == 2


def test_nothing_typed_or_picked_is_told_and_so_is_what_was_not_read_and_hostile_words_are_only_words(
    page: Page,
) -> None:
    page.click("#go")
    expect(page.locator("#wrong")).to_contain_text("say in words what you look for")
    page.locator("#results .pick").first.click()
    hostile = "<img src=x onerror=document.title='owned'>"
    searched(page, f"{hostile} {'red ' * 90} and blue")
    expect(page.locator("#unread")).to_contain_text("red and blue")
    searched(page, hostile)
    expect(page.locator("#unread")).to_be_hidden()
    page.locator("#results .pick").first.click()
    expect(page.locator("#trail button")).to_have_text([hostile])
    page.click("#home")
    expect(page.locator("#examples button").nth(1)).to_contain_text("<b>is shorter</b>")
    assert page.title() == "cir_assets search"


def test_a_picture_is_looked_at_large_with_its_file_and_original(
    page: Page, served_shop: tuple[Shop, str]
) -> None:
    shop, address = served_shop
    page.fill("#text", "is red")
    page.click("#go")
    expect(page.locator("#heading")).to_have_text("What your words find")
    found = names(page)
    page.locator("#results .view").nth(1).click()
    expect(page.locator("#look-name")).to_have_text(found[1])
    path = dict(shop.pictures.select("image", "path").iter_rows())[found[1]]
    expect(page.locator("#look-facts")).to_contain_text(path)
    original = page.request.get(f"{address}/{page.locator('#look-original').get_attribute('href')}")
    assert original.body() == (PICTURES / path).read_bytes()
    assert original.headers["content-type"] == "image/png"
    page.keyboard.press("ArrowRight")
    expect(page.locator("#look-name")).to_have_text(found[2])
    page.keyboard.press("Escape")
    expect(page.locator("#look")).to_be_hidden()
    expect(page.locator("#results .view").nth(1)).to_be_focused()


def test_what_is_searched_and_kept_stays_in_the_browser_and_leaves_it_as_csv_and_sheet(page: Page) -> None:
    page.evaluate("localStorage.clear()")
    page.reload()
    page.locator("#results .keep").first.click()
    page.locator("#results .keep").nth(2).click()
    kept = [names(page)[row] for row in (0, 2)]
    page.locator("#results .pick").first.click()
    searched(page, "is green")
    page.reload()
    page.click("#favourites-button")
    expect(page.locator("#shelf-list li")).to_have_text([f"{kept[0]}✕", f"{kept[1]}✕"])
    with page.expect_download() as csv:
        page.click("#shelf-csv")
    table = pl.read_csv(csv.value.path())
    assert table["image"].to_list() == kept
    assert table["path"].str.contains(r"\.png$").all()
    with page.expect_download() as sheet:
        page.click("#shelf-sheet")
    assert Path(sheet.value.path()).read_bytes().startswith(b"\x89PNG")
    page.keyboard.press("Escape")
    page.goto(page.url.partition("?")[0])
    page.click("#history-button")
    page.locator("#shelf-list button", has_text="is green").click()
    expect(page.locator("#reference-name")).to_have_text(kept[0])
    expect(page.locator("#heading")).to_have_text("What you may mean")


def test_it_is_used_by_keyboard_alone_and_read_on_a_phone(page: Page) -> None:
    page.locator("#results .pick").nth(2).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("v")
    expect(page.locator("#look-name")).to_have_text(names(page)[3])
    page.keyboard.press("Escape")
    expect(page.locator("#results .pick").nth(3)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.type("has stripes")
    page.keyboard.press("Enter")
    expect(page.locator("#heading")).to_have_text("What you may mean")
    first = names(page)[0]
    page.locator("#results .pick").first.focus()
    page.keyboard.press("x")
    expect(page.locator("#unlike button")).to_have_count(1)
    expect(page.locator(f"#results [title='{first}']")).to_have_count(0)
    page.set_viewport_size({"width": 375, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.set_viewport_size({"width": 1280, "height": 900})
    unnamed = page.locator("select, input, textarea, button, img:not([alt])").evaluate_all(
        """all => all.filter(each => each.tagName === "IMG" || !(each.labels?.length || each.innerText?.trim()
        || each.title || each.getAttribute("aria-label"))).map(each => each.outerHTML)"""
    )
    # What is not shown now has no text to be read either.
    assert [each for each in unnamed if "look-keep" not in each] == []
