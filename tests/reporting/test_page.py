"""The page in a real browser: tabs, colours, filters and the list of queries do what they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser, Page, expect

from cir_assets.reporting.inputs import ReportInputs
from cir_assets.reporting.report import page as rendered
from cir_assets.reporting.report import write_report
from cir_assets.reporting.sheets import queries_in_order
from cir_assets.retrieval.methods import METHODS
from tests.reporting.test_comparison_page import written as write_compared

LISTED = """
new MutationObserver((changes, observer) => {
  if (!document.querySelector("#list tbody tr")) return;
  window.listed = performance.now();
  observer.disconnect();
}).observe(document, { childList: true, subtree: true });
"""
"""Keeps when the list of queries stood on the page, in milliseconds since it was opened."""


@pytest.fixture(scope="module")
def report(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report that lacks one picture: the target of the best query."""
    gone = queries_in_order(inputs, "val-fashioniq-combiner")["target"][0]
    given = replace(inputs, picture_path=lambda image: None if image == gone else inputs.picture_path(image))
    return write_report(given, tmp_path_factory.mktemp("report"))


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1200, "height": 900}, color_scheme="light")
    shown = context.new_page()
    errors: list[str] = []
    shown.on("pageerror", lambda error: errors.append(str(error)))
    shown.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    shown.goto(report.as_uri())
    yield shown
    context.close()
    assert errors == []


def test_tabs_change_by_mouse_and_by_arrow_keys(page: Page) -> None:
    tabs = page.get_by_role("tab")
    assert [tab.inner_text().split()[0] for tab in tabs.all()] == ["val", "test"]
    assert page.locator("#panel-0").is_visible()
    assert not page.locator("#panel-1").is_visible()
    tabs.first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#panel-1").is_visible()
    assert not page.locator("#panel-0").is_visible()
    tabs.first.click()
    assert page.locator("#panel-0").is_visible()


def test_the_switch_of_colours_recolours_page_and_charts(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    chart = page.locator("[data-chart=ladder-0]")
    chart.scroll_into_view_if_needed()
    chart.locator(".main-svg").first.wait_for()
    ink = "document.querySelector('[data-chart=ladder-0] .ytick text').style.fill"
    light = page.evaluate(ground), page.evaluate(ink)
    page.locator("#theme").click()
    assert (page.evaluate(ground), page.evaluate(ink)) == light
    page.locator("#theme").click()
    assert page.locator("#theme").get_attribute("aria-label") == "Colours: dark"
    page.wait_for_function(f"{ink} !== '{light[1]}'")
    assert page.evaluate(ground) != light[0]


def test_sheets_are_filtered_by_kind_category_and_words(page: Page) -> None:
    filters = page.locator("#filters")
    assert page.locator("#filtered").inner_text() == "24 queries"
    filters.locator("[name=band]").select_option("worst")
    assert page.locator("#filtered").inner_text() == "8 of 24 queries"
    assert page.locator(".band:visible h3").all_inner_texts() == ["The worst"]
    filters.locator("[name=band]").select_option("")
    filters.locator("[name=words]").fill("SLEEVES blue")
    shown = page.locator(".sheet:visible blockquote").all_inner_texts()
    assert 0 < len(shown) < 24
    assert all("blue" in caption for caption in shown)
    filters.locator("[name=words]").fill("no such words")
    assert page.locator(".sheet:visible").count() == 0
    expect(page.locator("#no-sheets")).to_contain_text("No query in pictures is like that.")
    filters.locator("[name=words]").fill("")
    filters.locator("[name=category]").select_option("shirt")
    of = [sheet.get_attribute("data-category") for sheet in page.locator(".sheet").all()]
    assert 0 < of.count("shirt") < 24
    expect(page.locator(".sheet:visible")).to_have_count(of.count("shirt"))
    expect(page.locator(".sheet[data-category=shirt]:visible")).to_have_count(of.count("shirt"))
    assert page.locator("#filtered").inner_text() == f"{of.count('shirt')} of 24 queries"


def test_the_list_holds_every_query_and_is_searched_by_rank(page: Page, inputs: ReportInputs) -> None:
    ranks = inputs.rankings.filter(pl.col("evaluation_id") == "val-fashioniq-combiner")["target_rank"]
    output = page.locator("#search output")
    assert output.inner_text() == f"{len(ranks)} queries"
    page.locator("#search [name=low]").fill("3")
    page.locator("#search [name=high]").fill("20")
    assert output.inner_text() == f"{int(ranks.is_between(3, 20).sum())} of {len(ranks)} queries"
    page.locator("#search [name=low]").fill("")
    page.locator("#search [name=high]").fill("")
    page.locator("#search [name=order]").select_option("worst")
    assert page.locator(".list tbody tr").first.locator("td").nth(1).inner_text() == str(ranks.max())
    page.get_by_role("button", name="Next").click()
    assert page.locator(".pages span").inner_text() == "page 2 of 3"
    page.locator("#search [name=category]").select_option("toptee")
    page.locator("#search [name=words]").fill("striped BELT")
    found = inputs.rankings.filter(
        pl.col("caption").str.contains("belt") & pl.col("caption").str.contains("striped"),
        evaluation_id="val-fashioniq-combiner",
        category="toptee",
    )
    assert 0 < found.height < 24
    assert output.inner_text() == f"{found.height} of {len(ranks)} queries"
    shown = page.locator("#list tbody tr small").all_inner_texts()
    assert {said.split(" · ")[1] for said in shown} == set(found["query_id"])


def test_a_click_on_a_head_orders_the_list_by_that_column_and_a_second_turns_it_round(
    page: Page, inputs: ReportInputs
) -> None:
    heads = page.locator(".list thead [data-column]")
    others = [method.label for method in METHODS.values() if method.name != "combiner"]
    assert heads.all_inner_texts() == ["Query", "λ", "Combiner", *others]
    expect(page.locator(".list thead .over")).to_have_text("Rank of the target by")
    by_text = inputs.rankings.filter(evaluation_id="val-fashioniq-text_only")["target_rank"].sort().to_list()
    column = page.locator(".list tbody td:nth-child(4)")
    page.get_by_role("button", name="Text only").click()
    assert [int(cell) for cell in column.all_inner_texts()] == by_text[:25]
    expect(page.locator("[aria-sort]")).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("button", name="Text only").click()
    assert [int(cell) for cell in column.all_inner_texts()] == by_text[::-1][:25]
    expect(page.locator("[aria-sort]")).to_have_attribute("aria-sort", "descending")
    # The address brings the same order again, elsewhere too.
    page.reload()
    expect(page.locator("[aria-sort]")).to_have_attribute("aria-sort", "descending")
    assert [int(cell) for cell in column.all_inner_texts()] == by_text[::-1][:25]
    page.locator("#search [name=order]").select_option("best")
    expect(page.locator("[aria-sort]")).to_have_count(0)


def test_every_filter_and_every_query_has_an_address_to_send(page: Page, inputs: ReportInputs) -> None:
    page.locator("#search [name=low]").fill("50")
    page.locator("#search [name=high]").fill("10")
    expect(page.locator("#no-queries")).to_contain_text("No query is like that.")
    expect(page.locator("#list .scroll")).to_be_hidden()
    page.locator("#no-queries button").click()
    expect(page.locator("#list .scroll")).to_be_visible()
    page.locator("#search [name=category]").select_option("shirt")
    page.locator("#search [name=words]").fill("blue")
    page.locator("#search [name=order]").select_option("worst")
    said = page.locator("#search output").inner_text()
    page.locator("#list .opener").first.click()
    query = page.locator("#opened-query a").inner_text()
    sent = page.url
    assert sent.endswith(f"#category=shirt&words=blue&order=worst&query={query}")
    page.goto("about:blank")
    page.goto(sent)
    expect(page.locator("#opened")).to_be_visible()
    expect(page.locator("#opened-query")).to_contain_text(query)
    expect(page.locator("#search output")).to_have_text(said)
    page.keyboard.press("Escape")
    page.wait_for_function("!location.hash.includes('query=')")
    # A link to a query among the sheets opens it, and what the address lacks is not filtered.
    sheet = page.locator(".sheet .id a").first
    sheet.click()
    expect(page.locator("#opened-query")).to_contain_text(sheet.inner_text())
    expect(page.locator("#search output")).to_have_text("72 queries")
    page.keyboard.press("Escape")
    page.goto(page.url.split("#")[0] + "#band=worst&sheet-category=shirt")
    expect(page.locator("#filters [name=band]")).to_have_value("worst")
    expect(page.locator(".band:visible h3")).to_have_text(["The worst"])


def test_above_the_fold_stand_a_sentence_and_a_query_in_pictures(page: Page, inputs: ReportInputs) -> None:
    figures = {
        (method, k): round(value)
        for method, k, value in inputs.metrics.filter(category="mean", metric="recall")
        .with_columns(pl.col("evaluation_id").str.strip_prefix("val-fashioniq-"))
        .select("evaluation_id", "k", "value")
        .iter_rows()
    }
    expect(page.locator(".sentence")).to_have_text(
        f"In {figures['combiner', 50]} of 100 searches the picture meant is among the first 50, in "
        f"{figures['combiner', 10]} among the first 10; plain CLIP: {figures['sum', 50]} and {figures['sum', 10]}. "
        "Only 72 searches were tried, so these figures are rough."
    )
    example = page.locator(".example")
    box = example.bounding_box()
    assert box
    assert box["y"] + box["height"] < 900
    query = (example.locator("a").get_attribute("href") or "").removeprefix("#query=")
    rank = {
        method: inputs.rankings.filter(evaluation_id=f"val-fashioniq-{method}", query_id=query)[
            "target_rank"
        ][0]
        for method in ("combiner", "sum")
    }
    assert rank["combiner"] == 1
    assert rank["sum"] > 10
    assert example.locator("img").count() == 7
    assert page.evaluate("[...document.querySelectorAll('.example img')].every(i => i.naturalWidth > 0)")


def test_any_query_opens_in_pictures_by_two_methods_of_ones_choice(page: Page, inputs: ReportInputs) -> None:
    def first_pictures(method: str, query: str) -> list[str]:
        own = inputs.retrieved.filter(
            pl.col("rank") <= 10, evaluation_id=f"val-fashioniq-{method}", query_id=query
        )
        return [
            f"Rank {rank}: {image}" for rank, image in own.sort("rank").select("rank", "image").iter_rows()
        ]

    def rank_of(method: str, query: str) -> str:
        own = inputs.rankings.filter(evaluation_id=f"val-fashioniq-{method}", query_id=query)
        return f"rank of the target: {own['target_rank'][0]}"

    ordered = queries_in_order(inputs, "val-fashioniq-combiner")["query_id"].to_list()
    worst, last_but_one = ordered[-1], ordered[-2]
    page.select_option("#search [name=order]", "worst")
    page.locator("#list .opener").first.click()
    dialog = page.locator("#opened")
    expect(dialog).to_be_visible()
    expect(page.locator("#opened-query")).to_contain_text(worst)
    sides = dialog.locator(".side")

    def shown(number: int) -> list[str | None]:
        return [picture.get_attribute("alt") for picture in sides.nth(number).locator("img").all()]

    assert (shown(0), shown(1)) == (first_pictures("sum", worst), first_pictures("combiner", worst))
    expect(sides.nth(1).locator("output")).to_have_text(rank_of("combiner", worst))
    loaded = "all => all.every(each => each.complete && each.naturalWidth > 0)"
    page.wait_for_function(f"({loaded})([...document.querySelectorAll('#opened img')])")
    # By keyboard: within a list of methods the arrows pick one and leave the query as it is.
    first = dialog.get_by_label("First method")
    first.focus()
    page.keyboard.type("Combiner, f")
    expect(first.locator("option:checked")).to_have_text("Combiner, frozen CLIP")
    expect(page.locator("#opened-query")).to_contain_text(worst)
    assert shown(0) == first_pictures("combiner_frozen_clip", worst)
    expect(sides.nth(0).locator("output")).to_have_text(rank_of("combiner_frozen_clip", worst))
    page.keyboard.press("ArrowRight")
    expect(page.locator("#opened-query")).to_contain_text(worst)
    first.select_option(label="Tuned text + sum")
    dialog.get_by_role("button", name="Next query").click()
    expect(page.locator("#opened-query")).to_contain_text(last_but_one)
    assert shown(0) == first_pictures("text_encoder_sum", last_but_one)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#opened-query")).to_contain_text(worst)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_every_control_has_a_name_that_is_read_aloud(page: Page) -> None:
    controls = {
        "button",
        "combobox",
        "searchbox",
        "spinbutton",
        "textbox",
        "tab",
        "link",
        "DisclosureTriangle",
    }

    def names() -> list[tuple[str, str]]:
        tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
        roles = [(node.get("role", {}).get("value"), node.get("name", {}).get("value", "")) for node in tree]
        return [(role, name.strip()) for role, name in roles if role in controls]

    before = names()
    assert {"button", "combobox", "searchbox", "spinbutton", "tab", "link"} <= {role for role, _ in before}
    page.locator("#list .opener").first.click()
    opened = names()
    assert ("combobox", "First method") in opened
    assert [role for role, name in before + opened if not name] == []


def test_a_report_of_six_thousand_queries_is_light_and_opens(
    browser: Browser, inputs: ReportInputs, tmp_path: Path
) -> None:
    copies = 6_000 // inputs.rankings.filter(evaluation_id="val-fashioniq-combiner").height + 1

    def many(frame: pl.DataFrame) -> pl.DataFrame:
        numbered = pl.DataFrame({"copy": [f" {number}" for number in range(copies)]})
        return (
            frame.join(numbered, how="cross").with_columns(pl.col("query_id") + pl.col("copy")).drop("copy")
        )

    large = replace(inputs, rankings=many(inputs.rankings), retrieved=many(inputs.retrieved))
    file = write_report(large, tmp_path)
    assert file.stat().st_size < 15_000_000
    beside = [each.stat().st_size for each in tmp_path.rglob("*.jpg")]
    assert len(beside) == 3 * 60
    assert max(beside) < 8_000
    shown = browser.new_page()
    shown.goto(file.as_uri(), wait_until="commit")
    expect(shown.locator("#list tbody tr").first).to_be_attached()
    expect(shown.locator("#search output")).to_contain_text("6,")
    shown.close()


def test_a_missing_picture_is_a_tile_with_the_reason_and_every_picture_has_words(page: Page) -> None:
    missing = page.locator(".missing").first
    assert missing.inner_text() == "cannot be shown: the data set has no file for it"
    assert "cannot be shown" in (missing.get_attribute("aria-label") or "")
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.evaluate("[...document.querySelectorAll('img')].every(i => i.src.startsWith('data:image/'))")


def test_a_phone_in_the_dark_shows_report_and_comparison_without_scrolling_sideways(
    browser: Browser, report: Path, inputs: ReportInputs, tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 780}, color_scheme="dark")
    shown = context.new_page()
    dark = "rgb(18, 19, 23)"
    wide = "document.documentElement.scrollWidth"
    shown.goto(report.as_uri())
    for place in ("#ladder", "#training", "#sheets", "#queries"):
        shown.locator(place).scroll_into_view_if_needed()
        shown.wait_for_timeout(150)
    expect(shown.locator("body")).to_have_css("background-color", dark)
    assert shown.evaluate(wide) <= 360
    # What matters most is not cut: the headline, and the rank by the method that is shown.
    for cell in shown.locator(".panel:visible .ladder td:nth-child(2), .list tbody td:nth-child(2)").all():
        within_page = cell.bounding_box()
        assert within_page
        assert within_page["x"] + within_page["width"] <= 360
    shown.locator("#list .opener").first.click()
    # Nothing of the opened query is cut off at the left, or lies on the target's picture.
    within = shown.locator("#opened").bounding_box()
    target = shown.locator("#opened-target").bounding_box()
    assert within
    assert target
    for each in shown.locator("#opened button, #opened select, #opened .strip, #opened-query").all():
        box = each.bounding_box()
        assert box
        assert within["x"] <= box["x"]
        assert box["x"] + box["width"] <= within["x"] + within["width"]
        assert box["y"] + box["height"] <= target["y"] or target["y"] + target["height"] <= box["y"]
    shown.goto(write_compared(inputs, tmp_path / "compared.html").as_uri())
    expect(shown.locator("body")).to_have_css("background-color", dark)
    assert shown.evaluate(wide) <= 360
    context.close()


def test_an_evaluation_of_no_queries_and_nothing_else_to_show_is_told(inputs: ReportInputs) -> None:
    text = rendered(
        replace(
            inputs,
            evaluations=inputs.evaluations.with_columns(pl.lit(0).cast(pl.Int32).alias("queries")),
            metrics=inputs.metrics.clear(),
            rankings=inputs.rankings.clear(),
            retrieved=inputs.retrieved.clear(),
            training_epochs=inputs.training_epochs.clear(),
        )
    )
    assert "This evaluation has no queries" in text
    assert "The evaluation on val has no queries" in text
    assert "No training of this pipeline was recorded." in text
    assert "λ was not kept" in text


def test_a_page_without_the_combiner_shows_the_method_that_serves(inputs: ReportInputs) -> None:
    def page_of(*methods: str) -> str:
        return rendered(
            replace(inputs, evaluations=inputs.evaluations.filter(pl.col("method").is_in(methods)))
        )

    tuned = page_of("image_only", "sum", "text_encoder_sum", "combiner_frozen_clip")
    assert "Tuned text + sum, headline on val" in tuned
    assert "Headline of the tuned sum less that of" in tuned
    assert "by where the tuned sum ranked their target" in tuned
    assert "For each query the tuned sum counts the text's feature and the picture's alike" in tuned
    assert "<summary>Before training</summary>" in tuned
    assert (
        tuned.count('<tr class="ours"><th scope="row"><span class="swatch" style="--colour: #7c4dab">') == 4
    )

    frozen = page_of("image_only", "sum", "combiner_frozen_clip")
    assert "Combiner, frozen CLIP, headline on val" in frozen
    assert "For each query the Combiner on frozen CLIP picks a weight" in frozen

    zero_shot = page_of("image_only", "text_only", "sum")
    assert "Sum, headline on val" in zero_shot
    assert "by where the zero-shot sum ranked their target" in zero_shot
    # Nothing to hold it against.
    assert "Over the zero-shot sum" not in zero_shot
    assert "<summary>" not in zero_shot


def test_a_page_with_nothing_that_serves_says_so(inputs: ReportInputs) -> None:
    text = rendered(replace(inputs, evaluations=inputs.evaluations.filter(method="image_only")))
    assert "No method that may serve was evaluated on val, so there is no query to show." in text
