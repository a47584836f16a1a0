"""The whole graph on a small wardrobe: data to report, through a real Dagster instance."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cir_assets.retrieval.methods import METHODS
from tests.cookbook import COOKBOOK, Question, answered_by_polars, polars_beginning, questions
from tests.trial_project import TrialProject, metadata_of
from tests.web_server import web_server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PIPELINE = "wardrobe/tiny_clip/quick"
WHOLE = ('key:"wardrobe/*"', 'key:"leaderboard"')


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TrialProject, dg.DagsterInstance]]:
    """A project whose wardrobe was materialized whole, once for all tests of this module."""
    project = TrialProject(tmp_path_factory.mktemp("whole") / "project")
    # As users have it: rendered by its root, and decoded by processes of their own.
    project.wardrobes = None
    project.write_dataset(
        "wardrobe",
        source={"kind": "wardrobe", "size": 1000},
        protocols=["fashioniq", "cirr"],
        decoding_workers=2,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        assert project.materialize(instance, *WHOLE).success
        yield project, instance


@pytest.fixture
def published(ran: tuple[TrialProject, dg.DagsterInstance]) -> Iterator[duckdb.DuckDBPyConnection]:
    project, _ = ran
    with duckdb.connect(str(project.storage.evaluation), read_only=True) as connection:
        yield connection


def test_selecting_the_group_alone_installs_the_backbone_too(
    ran: tuple[TrialProject, dg.DagsterInstance],
) -> None:
    project, instance = ran
    assert (project.storage.backbone("tiny_clip") / "model.safetensors").is_file()
    event = instance.get_latest_materialization_event(dg.AssetKey(["backbones", "tiny_clip"]))
    assert event is not None


def test_every_check_was_made_and_passed(ran: tuple[TrialProject, dg.DagsterInstance]) -> None:
    project, instance = ran
    specs = list(project.definitions().resolve_asset_graph().asset_check_keys)
    outcomes = {
        key: [
            record.evaluation.passed  # type: ignore[union-attr]
            for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
            if record.event is not None
        ]
        for key in specs
        if key.asset_key.path[0] != "backbones"
    }
    assert len(outcomes) >= 12
    failing = [key for key, passed in outcomes.items() if passed != [True] and key.name != "ladder_in_order"]
    assert failing == []


def test_every_method_is_evaluated_on_val_and_test_under_both_protocols(
    published: duckdb.DuckDBPyConnection,
) -> None:
    rows = published.sql("SELECT DISTINCT method, split, protocol FROM evaluations").fetchall()
    assert set(rows) == {(m, s, p) for m in METHODS for s in ("val", "test") for p in ("fashioniq", "cirr")}


def test_recalls_follow_from_the_stored_ranks(published: duckdb.DuckDBPyConnection) -> None:
    counted = published.sql("""
        SELECT evaluation_id, category, k, avg((target_rank <= k)::INT) * 100 AS counted
        FROM rankings, (VALUES (10), (50)) AS cut(k) GROUP BY ALL""")
    compared = published.sql(
        "SELECT count(*), max(abs(value - counted)) FROM counted JOIN metrics USING (evaluation_id, category, k) "
        "WHERE metric = 'recall'"
    ).fetchall()
    assert counted is not None
    [(count, difference)] = compared
    assert count >= 6 * 2 * 2 * 3
    assert difference < 1e-9


def test_intervals_hold_their_value(published: duckdb.DuckDBPyConnection) -> None:
    outside = published.sql(
        "SELECT count(*) FROM metrics WHERE NOT (ci_low <= value + 1e-9 AND value <= ci_high + 1e-9)"
    ).fetchall()
    assert outside == [(0,)]


def test_the_stored_top_pictures_agree_with_the_target_ranks(published: duckdb.DuckDBPyConnection) -> None:
    wrong = published.sql("""
        SELECT count(*) FROM rankings JOIN retrieved USING (evaluation_id, query_id)
        WHERE (image = target) != (rank = target_rank)""").fetchall()
    assert wrong == [(0,)]
    depths = published.sql(
        "SELECT DISTINCT count(*) FROM retrieved GROUP BY evaluation_id, query_id"
    ).fetchall()
    assert depths == [(50,)]


def test_cirr_leaves_the_reference_out_and_fashioniq_keeps_it(published: duckdb.DuckDBPyConnection) -> None:
    found = dict(
        published.sql("""
        SELECT protocol, count(*) FILTER (image = reference) FROM rankings
        JOIN retrieved USING (evaluation_id, query_id) JOIN evaluations USING (evaluation_id)
        WHERE method = 'image_only' GROUP BY protocol""").fetchall()
    )
    assert found["cirr"] == 0
    assert found["fashioniq"] > 0


def test_lambda_is_stored_for_the_combiners_alone(published: duckdb.DuckDBPyConnection) -> None:
    rows = published.sql("""
        SELECT method, count(text_weight) = count(*), min(text_weight), max(text_weight)
        FROM rankings JOIN evaluations USING (evaluation_id) GROUP BY method""").fetchall()
    for method, kept, low, high in rows:
        assert kept == METHODS[method].learns_weight
        if kept:
            assert 0 <= low <= high <= 1


def test_training_curves_are_published(published: duckdb.DuckDBPyConnection) -> None:
    stages = dict(published.sql("SELECT stage, count(*) FROM training_epochs GROUP BY stage").fetchall())
    assert stages == {"text_encoder": 2, "combiner": 2, "combiner_frozen_clip": 2}


def test_models_load_without_the_training_code(ran: tuple[TrialProject, dg.DagsterInstance]) -> None:
    from transformers import AutoTokenizer, CLIPTextModelWithProjection

    project, _ = ran
    version = project.entry(f"{PIPELINE}/text_encoder").fingerprint
    folder = project.storage.models("wardrobe", "tiny_clip", "quick", "text_encoder") / version
    model = CLIPTextModelWithProjection.from_pretrained(folder)
    tokens = AutoTokenizer.from_pretrained(folder)(["is red and has longer sleeves"], return_tensors="pt")
    assert model(input_ids=tokens["input_ids"]).text_embeds.shape == (1, 128)


def test_checkpoints_are_gone_once_a_model_is_kept(ran: tuple[TrialProject, dg.DagsterInstance]) -> None:
    project, _ = ran
    assert list(project.storage.root.rglob("checkpoint*.pt")) == []


def test_the_report_is_linked_and_its_figures_are_numbers(
    ran: tuple[TrialProject, dg.DagsterInstance],
) -> None:
    project, instance = ran
    page = project.storage.report("wardrobe", "tiny_clip", "quick") / "index.html"
    assert page.stat().st_size > 100_000
    event = instance.get_latest_materialization_event(dg.AssetKey(f"{PIPELINE}/report".split("/")))
    assert event is not None
    assert event.asset_materialization is not None
    address = event.asset_materialization.metadata["report"].value
    assert address == "http://127.0.0.1:8765/reports/wardrobe/tiny_clip/quick/index.html"
    event = instance.get_latest_materialization_event(dg.AssetKey(f"{PIPELINE}/evaluation".split("/")))
    assert event is not None
    assert event.asset_materialization is not None
    headline = event.asset_materialization.metadata["val_combiner_headline"].value
    assert isinstance(headline, float)
    assert 0 < headline <= 100


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium")
def test_the_ui_shows_an_evaluation_with_its_ladder_its_sheet_and_its_curves(
    ran: tuple[TrialProject, dg.DagsterInstance],
) -> None:
    from playwright.sync_api import expect, sync_playwright

    project, instance = ran
    key = dg.AssetKey(f"{PIPELINE}/evaluation".split("/"))
    event = instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    # The run's own instance lives in memory; the server reads another, which is told what that run recorded.
    with dg.DagsterInstance.from_config(str(project.storage.root)) as kept:
        kept.report_runless_asset_event(event.asset_materialization)
    wait = 60_000
    with web_server(project) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
        )
        page = browser.new_page(viewport={"width": 1800, "height": 1200})
        location = f"{project.package}.definitions"
        page.goto(f"{address}/locations/{location}/asset-groups/wardrobe", wait_until="commit")
        for step in ("raw", "images", "triplets", "text_encoder", "combiner", "evaluation", "report"):
            expect(page.get_by_text(step, exact=True).first).to_be_visible(timeout=wait)
        page.goto(f"{address}/assets/{PIPELINE}/evaluation?view=overview", wait_until="commit")
        expect(page.get_by_text("The methods image_only, text_only, sum").first).to_be_visible(timeout=wait)
        served = event.asset_materialization.metadata["served_method"].value
        for name in (f"val_{served}_headline", f"val_{served}_recall_at_10", f"test_{served}_recall_at_50"):
            row = page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))
            value = event.asset_materialization.metadata[name].value
            assert isinstance(value, float)
            expect(row).to_contain_text(f"{value:g}", timeout=wait)
        for name, pictures, wide in (("ladder", 0, 0), ("sheet", 1, 1400), ("curves", 3, 720)):
            row = page.get_by_role("row").filter(has=page.get_by_text(name, exact=True)).first
            row.get_by_text("[Show Markdown]").click(timeout=wait)
            shown = page.get_by_role("dialog")
            if name == "ladder":
                expect(
                    shown.get_by_role("row").filter(has_text="Combiner, frozen CLIP").first
                ).to_be_visible()
            expect(shown.locator("img")).to_have_count(pictures)
            for picture in shown.locator("img").all():
                expect(picture).to_be_visible()
                assert picture.evaluate("picture => picture.naturalWidth") >= wide
            page.keyboard.press("Escape")
            expect(shown).to_have_count(0)
        browser.close()


def test_a_second_run_trains_and_encodes_nothing_and_changes_no_version(
    ran: tuple[TrialProject, dg.DagsterInstance],
) -> None:
    project, instance = ran
    steps = [
        "wardrobe/images",
        "wardrobe/triplets",
        "wardrobe/tiny_clip/image_features",
        *(
            f"{PIPELINE}/{step}"
            for step in ("text_encoder", "combiner_frozen_clip", "combiner", "evaluation", "report")
        ),
        "leaderboard",
    ]
    before = {step: project.entry(step) for step in steps}
    again = project.materialize(instance, *WHOLE)
    assert {step: project.entry(step) for step in steps} == before
    assert {step: metadata_of(again, step)["reused"] for step in steps} == dict.fromkeys(steps, True)


def test_the_published_file_may_be_held_open_while_everything_runs(
    ran: tuple[TrialProject, dg.DagsterInstance],
) -> None:
    project, instance = ran
    with duckdb.connect(str(project.storage.evaluation), read_only=True) as held:
        before = held.sql("SELECT count(*) FROM rankings").fetchall()
        project.storage.evaluation.with_name("moved").unlink(missing_ok=True)
        (project.storage.ledger / "leaderboard" / "latest.json").unlink()
        for entry in (project.storage.ledger / "leaderboard").glob("*.json"):
            entry.unlink()
        result = project.materialize(instance, *WHOLE)
        assert metadata_of(result, "leaderboard")["reused"] is False
        assert held.sql("SELECT count(*) FROM rankings").fetchall() == before


def test_an_edited_test_caption_trains_nothing_but_evaluates_again(
    ran: tuple[TrialProject, dg.DagsterInstance],
) -> None:
    project, instance = ran
    captions: Path = project.storage.raw("wardrobe") / "captions" / "cap.dress.test.json"
    text = captions.read_text()
    first = pl.read_json(captions)["captions"][0][0]
    captions.write_text(text.replace(f'"{first}"', '"has a very long train"', 1))
    try:
        result = project.materialize(instance, *WHOLE)
    finally:
        captions.write_text(text)
    reused = {
        step: metadata_of(result, f"{PIPELINE}/{step}")["reused"]
        for step in ("text_encoder", "combiner_frozen_clip", "combiner", "evaluation")
    }
    assert reused == {
        "text_encoder": True,
        "combiner_frozen_clip": True,
        "combiner": True,
        "evaluation": False,
    }
    features = metadata_of(result, "wardrobe/tiny_clip/image_features")
    assert features["reused"] is True


def for_trial(text: str) -> str:
    """A query of the cookbook, asked of the trial: its recipe is called otherwise, and its galleries are smaller."""
    return re.sub(r"""(['"])(small|best)\1""", r"\1quick\1", text).replace(">= 30", ">= 3")


@pytest.mark.parametrize("question", questions(), ids=lambda question: question.title)
def test_every_query_of_the_cookbook_answers_and_polars_says_the_same(
    ran: tuple[TrialProject, dg.DagsterInstance], question: Question
) -> None:
    project, _ = ran
    with duckdb.connect(str(project.storage.evaluation), read_only=True) as published:
        answer = published.sql(for_trial(question.sql)).pl()
    assert not answer.is_empty()
    # As a person reads it: rounded in double precision.
    assert pl.Float32 not in answer.dtypes
    if question.polars is not None:
        found = answered_by_polars(
            for_trial(polars_beginning()), for_trial(question.polars), project.storage.evaluation
        )
        assert_frame_equal(found, answer, check_dtypes=False)


def test_the_cookbooks_answers_agree_with_the_figures_stored(published: duckdb.DuckDBPyConnection) -> None:
    by_number = {question.number: published.sql(for_trial(question.sql)).pl() for question in questions()}
    [(queries, *recalls)] = published.sql(
        "SELECT queries, recall_at_10, recall_at_50 FROM leaderboard WHERE dataset = 'wardrobe' AND recipe = 'quick' "
        "AND method = 'combiner' AND split = 'test' AND protocol = 'fashioniq'"
    ).fetchall()
    assert by_number[5]["queries"].sum() == queries
    at = dict(by_number[14].iter_rows())
    assert [at[10], at[50]] == pytest.approx(recalls, abs=1)
    # Two evaluations' hits differ by the queries gained and lost, whichever of the kept versions they are.
    hits: dict[str, list[int]] = {"text_encoder_sum": [], "combiner": []}
    for method, count in published.sql(
        "SELECT method, count(*) FILTER (target_rank <= 10) FROM rankings JOIN evaluations USING (evaluation_id) "
        "WHERE split = 'test' AND protocol = 'fashioniq' GROUP BY evaluation_id, method"
    ).fetchall():
        hits.get(method, []).append(count)
    pairs = by_number[8].filter(first="quick/text_encoder_sum", second="quick/combiner")
    expected = [after - before for before in hits["text_encoder_sum"] for after in hits["combiner"]]
    assert sorted((pairs["gained"] - pairs["lost"]).to_list()) == sorted(expected)
    assert set(pairs["queries"]) == {queries}


def test_the_cookbook_shows_an_answer_to_every_query() -> None:
    text = COOKBOOK.read_text(encoding="utf-8")
    assert [question.number for question in questions()] == list(range(1, 23))
    assert text.count("```\n\n```\n") == 22
    assert re.search(r"\d\.\d{7}", text) is None
