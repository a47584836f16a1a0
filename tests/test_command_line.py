"""Every command says what it does and what is wrong, in a sentence and by its exit code, and shows text as text."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
import uvicorn
from click.testing import CliRunner, Result
from fastapi import FastAPI
from PIL import Image

from cir_assets.client import Search
from cir_assets.command_line import evaluations, main, making, materializing, reigning
from cir_assets.command_line.output import terminal
from cir_assets.serving import app
from cir_assets.serving.champions import Champions
from cir_assets.store.ledger import Ledger, LedgerEntry
from cir_assets.store.promotions import Decision, PromotionLog, models_digest
from cir_assets.store.publishing import publish
from cir_assets.store.results import write_results
from tests.serving.conftest import Shop, encoded, served_shop, shop
from tests.store.test_results import frames
from tests.trial_project import PROJECT

__all__ = ["encoded", "served_shop", "shop"]

MARKUP = "a [blue] :smile: [/old] dress"
"""What a table or a log of a terminal might take for colours and pictures."""


def ran(*arguments: str) -> Result:
    """A command's outcome; a traceback fails the test with itself."""
    result = CliRunner().invoke(main, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A storage folder of one's own, empty."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def materialized(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The selections a command would have materialized."""
    asked: list[str] = []
    monkeypatch.setattr(reigning, "materialize", lambda selection, module, **_: asked.append(selection))
    return asked


@pytest.fixture
def log(home: Path) -> PromotionLog:
    """A pipeline whose second champion reigns."""
    log = PromotionLog(home / "champions" / "shop" / "tiny_clip" / "quick.parquet")
    for version in (1, 2):
        before = log.champion()
        log.add(
            Decision(
                dataset="shop",
                backbone="tiny_clip",
                recipe="quick",
                decided_at=datetime(2026, 3, version),
                decision="promoted",
                reason=MARKUP,
                models={"shop/tiny_clip/quick/combiner": f"version{version}"},
                champion=models_digest(before) if before else None,
                method="combiner",
                split="val",
                protocol="fashioniq",
                queries=20,
                challenger_headline=50.0 + version,
            )
        )
    return log


@pytest.mark.parametrize("command", [None, *main.commands])
def test_every_command_explains_itself(command: str | None) -> None:
    shown = ran(*([command] if command else []), "--help")
    assert shown.exit_code == 0
    assert "Usage:" in shown.output
    if command is None:
        assert all(name in shown.output for name in main.commands)


@pytest.mark.parametrize("dataset", ["", "/etc", "..", "*", "Wardrobe", 'a" or key:"b'])
@pytest.mark.parametrize("command", [["search", "--reference", "a", "--text", "b"], ["demo"], ["ladder"]])
def test_what_is_no_name_of_a_data_set_is_a_usage_error(command: list[str], dataset: str) -> None:
    refused = ran(*command, "--dataset", dataset)
    assert refused.exit_code == 2
    assert "is no name: lower-case letters, digits and underscores" in refused.output


def test_version_and_help_and_completion_are_where_they_are_looked_for() -> None:
    assert ran("--version").output == f"cir-assets {metadata.version('cir-assets')}\n"
    assert ran("-h").output == ran("--help").output
    assert "_CIR_ASSETS_COMPLETE=bash_complete" in ran("completion", "bash").output


@pytest.mark.parametrize(
    "command",
    [
        ["demo"],
        ["run", "shop"],
        ["ladder"],
        ["leaderboard"],
        ["compare", "a", "b"],
        ["sql", "SELECT 1"],
        ["search", "--reference", "a", "--text", "b"],
        ["serve"],
        ["ui"],
        ["status"],
        ["rollback", "a/b/c"],
    ],
    ids=lambda command: command[0],
)
def test_in_a_wrong_folder_every_command_says_the_same(
    command: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(home / "nowhere"))
    absent = ran(*command)
    assert absent.exit_code == 1
    assert absent.output == (
        f"Error: there is no storage folder {home / 'nowhere'}: run this in the project's folder, or set DAGSTER_HOME "
        "to it\n"
    )


def test_run_makes_report_champion_and_search_of_ones_own_data(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(making, "materialize", lambda selection, module, **_: asked.append(selection))
    assert ran("run", "shop").exit_code == 0
    [selection] = asked
    assert selection == " or ".join(
        [*(f'+key:"shop/*/*/{step}"' for step in ("report", "champion", "search")), 'key:"leaderboard"']
    )


def test_search_prints_a_table_and_draws_a_sheet(shop: Shop, tmp_path: Path) -> None:
    reference, sheet = str(shop.pictures["image"][0]), tmp_path / "sheet.png"
    by_id = ran(
        *("search", "--dataset", "boutique", "--reference", reference, "--text", MARKUP, "--top", "3"),
        *("--contact-sheet", str(sheet)),
    )
    assert by_id.exit_code == 0, by_id.output
    rows = [line.split() for line in by_id.output.splitlines() if line.strip()[:2] in ("1 ", "2 ", "3 ")]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert {row[2] for row in rows} <= set(shop.pictures["image"])
    assert f"{shop.pictures.height} pictures in" in by_id.output
    assert f"contact sheet: {sheet}" in by_id.output
    with Image.open(sheet) as drawn:
        assert drawn.size[0] > 500
    file = Path(shop.about.picture_root) / shop.pictures["path"][0]
    unwritable = ran(
        *("search", "--dataset", "boutique", "--image", str(file), "--text", "is red"),
        *("--contact-sheet", str(sheet / "below_a_file.png")),
    )
    assert unwritable.exit_code == 1
    assert "the contact sheet cannot be written" in unwritable.output


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str] | None]:
    """The hosts that a server, which is not run, would have answered to."""
    seen: list[Sequence[str] | None] = []
    own = app.search_app

    def watched(champions: Champions, *, hosts: Sequence[str] | None = None) -> FastAPI:
        seen.append(hosts)
        return own(champions, hosts=hosts)

    monkeypatch.setattr(app, "search_app", watched)
    monkeypatch.setattr(uvicorn.Server, "run", lambda self: None)
    return seen


HERE = ["127.0.0.1", "localhost", "[::1]"]


@pytest.mark.parametrize(
    ("arguments", "variable", "hosts"),
    [
        ([], None, HERE),
        (["--host", "localhost"], None, HERE),
        (["--host", "0.0.0.0"], None, None),
        (
            ["--trusted-host", "Shop.Example", "--trusted-host", "*.b.example"],
            None,
            [*HERE, "shop.example", "*.b.example"],
        ),
        (["--host", "0.0.0.0"], "shop.example search", [*HERE, "shop.example", "search"]),
        ([], "shop.example,search,", [*HERE, "shop.example", "search"]),
        (["--trusted-host", "a.example"], "b.example", [*HERE, "a.example"]),
        ([], "", HERE),
    ],
)
def test_the_hosts_a_server_answers_to(
    shop: Shop,
    started: list[Sequence[str] | None],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    variable: str | None,
    hosts: list[str] | None,
) -> None:
    if variable is not None:
        monkeypatch.setenv("CIR_ASSETS_TRUSTED_HOSTS", variable)
    served = ran("serve", *arguments)
    assert served.exit_code == 0, served.output
    assert started == [hosts]


@pytest.mark.parametrize(
    "name", ["https://shop.example", "shop.example:443", "shop.example/cir", "a b", "*example", "é"]
)
def test_what_is_no_name_of_a_host_is_a_usage_error(shop: Shop, name: str) -> None:
    refused = ran("serve", "--trusted-host", name)
    assert refused.exit_code == 2
    assert "is no name of a host; expected one without https:// and without a port" in " ".join(
        refused.output.split()
    )


def test_copies_are_found_where_they_are_wanted(shop: Shop) -> None:
    again = pl.concat([shop.pictures, shop.pictures[:1].with_columns(image=pl.lit("copy"))])
    Shop(shop.storage, again, np.concatenate([shop.features, shop.features[:1]]), shop.about).promote(2)
    asked = ("search", "--dataset", "boutique", "--reference", shop.pictures["image"][0], "--text", "is red")
    assert " copy " not in ran(*asked, "--pull", "-1").output
    assert " copy " in ran(*asked, "--pull", "-1", "--copies").output


def test_search_shows_ids_of_pictures_as_they_are(shop: Shop) -> None:
    named = shop.pictures.with_columns(image=pl.format("{} [{}][/old]", pl.lit("dress"), pl.row_index()))
    Shop(shop.storage, named, shop.features, shop.about).promote(2)
    found = ran("search", "--dataset", "boutique", "--reference", "dress [0][/old]", "--text", "is red")
    assert found.exit_code == 0, found.output
    assert found.output.count("[/old]") == 10


def test_a_running_server_is_asked_first_and_one_of_other_models_is_not_believed(
    served_shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, address = served_shop
    monkeypatch.setenv("DAGSTER_HOME", str(shop.storage))
    reference = str(shop.pictures["image"][0])
    asked = (
        "search",
        "--dataset",
        "boutique",
        "--reference",
        reference,
        "--text",
        "is red",
        "--top",
        "3",
        "--json",
    )
    by_server = ran(*asked, "--server", address)
    assert by_server.stderr == ""
    here = ran(*asked, "--server", "http://127.0.0.1:9")
    assert here.stderr.startswith("loading models …")
    first, second = json.loads(by_server.stdout), json.loads(here.stdout)
    assert [row["picture"] for row in first] == [row["picture"] for row in second]
    assert all(Path(row["file"]).is_file() for row in first)
    monkeypatch.setattr(
        Search,
        "datasets",
        lambda _: [{"dataset": "boutique", "pipeline": "tiny_clip/small", "champion": "x"}],
    )
    assert ran(*asked, "--server", address).stderr.startswith("loading models …")


def test_the_causes_of_a_failed_run_are_its_last_lines(home: Path) -> None:
    @dg.asset(key=["shop", "raw"])
    def raw() -> None:
        try:
            raise ValueError("line 7: no picture called ghost.jpg; mend it there")
        except ValueError as error:
            raise dg.Failure("shop/raw could not be read") from error

    @dg.asset(key=["shop", "images"])
    def images() -> None:
        try:
            raise KeyError("path")
        except KeyError as error:
            raise RuntimeError("the table is damaged") from error

    shutil.copy(PROJECT / "storage" / "dagster.yaml", home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        result = dg.materialize([raw, images], instance=instance, raise_on_error=False)
    log = [
        f"2026-03-01 12:00:00 +0000 - dagster - DEBUG - __ASSET_JOB - {result.run_id} - 1 - RUN_START - Started"
    ]
    assert materializing.why_it_failed(log) == (
        "the run failed:\nshop/images: RuntimeError: the table is damaged\nshop/raw: shop/raw could not be read"
    )
    assert materializing.why_it_failed(["Traceback", "ValueError: no such module"]) == (
        "nothing was made: ValueError: no such module"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there is no head")
def test_a_command_whose_reader_has_read_enough_ends_well(tmp_path: Path) -> None:
    program = (
        "from cir_assets.command_line.group import main; import click\n"
        "@main.command()\ndef many():\n    for n in range(100000): click.echo(n)\n"
        "main(['many'])"
    )
    pipe = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n0\n", "")


def test_search_says_what_is_wrong(shop: Shop, tmp_path: Path) -> None:
    reference = str(shop.pictures["image"][0])
    no_picture = tmp_path / "words.png"
    no_picture.write_text("no picture")
    for arguments, said in (
        (["--reference", "nobody", "--text", "is red"], "boutique has no picture 'nobody'"),
        (["--reference", reference, "--text", " "], "say what should differ"),
        (["--reference", reference, "--text", "is red", "--category", "hats"], "hats"),
        (["--reference", reference, "--text", "is red", "--pipeline", "x/y"], "no pipeline 'x/y'"),
        (["--image", str(no_picture), "--text", "is red"], "picture"),
    ):
        refused = ran("search", "--dataset", "boutique", *arguments)
        assert refused.exit_code == 1, refused.output
        assert said in refused.output
    assert ran("search", "--dataset", "boutique", "--text", "is red").exit_code == 2
    nothing = ran("search", "--dataset", "nothing", "--reference", "a", "--text", "is red")
    assert nothing.exit_code == 1
    assert "there is no data set 'nothing' to search; there are boutique" in nothing.output


def test_the_ladder_and_a_comparison_of_what_was_published(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = ran("ladder", "--dataset", "fashioniq")
    assert nothing.exit_code == 1
    assert "materialize the asset leaderboard, or run make demo" in nothing.output
    made = frames("one")
    ranked = made["rankings"].with_columns(reference=pl.lit(MARKUP), caption=pl.lit(MARKUP))
    two = made["evaluations"].with_columns(evaluation_id=pl.lit("two"))
    further = ranked.with_columns(evaluation_id=pl.lit("two"), target_rank=pl.lit(9))
    write_results(
        home / "one.duckdb",
        {
            **made,
            "evaluations": pl.concat([made["evaluations"], two]),
            "rankings": pl.concat([ranked, further], how="vertical_relaxed"),
        },
    )
    publish([home / "one.duckdb"], {}, home / "evaluation.duckdb")
    shown = ran("ladder", "--dataset", "fashioniq")
    assert shown.exit_code == 0
    assert "Combiner" in shown.output
    assert f"tables: {home / 'evaluation.duckdb'}" in shown.output
    with monkeypatch.context() as narrowed:
        narrowed.setattr(evaluations, "terminal", lambda: terminal(60))
        narrow = ran("ladder", "--dataset", "fashioniq").output
    assert "…" not in narrow
    assert {"50.0", "(49.0–51.0)"} <= set(narrow.split())
    other = ran("ladder", "--dataset", "cirr")
    assert other.exit_code == 1
    assert "nothing of 'cirr' was evaluated yet" in other.output
    rows = json.loads(ran("ladder", "--dataset", "fashioniq", "--json").stdout)
    assert {row["method"] for row in rows} == {"combiner"}
    header, first, *_ = ran("ladder", "--dataset", "fashioniq", "--csv").stdout.splitlines()
    assert header.split(",")[:6] == ["dataset", "backbone", "recipe", "split", "protocol", "method"]
    assert first.startswith("fashioniq,")
    [best] = json.loads(ran("leaderboard", "--json").stdout)
    assert best["method"] == "combiner"
    assert "combiner" in ran("leaderboard").stdout
    counted = ran("sql", "SELECT count(*) AS queries FROM rankings", "--csv")
    assert counted.stdout == "queries\n2\n"
    refused = ran("sql", "DELETE FROM rankings")
    assert refused.exit_code == 1
    assert "read-only" in refused.output
    [*_, metric] = json.loads(ran("compare", "one", "two", "--json").stdout)
    assert metric["second_value"] == pytest.approx(metric["first_value"] + metric["difference"])
    nowhere = ran("compare", "one", "two", "--page", str(home / "nowhere" / "page.html"))
    assert nowhere.exit_code == 2
    assert not (home / "nowhere").exists()
    compared = ran("compare", "one", "two")
    assert compared.exit_code == 0
    assert f"1 -> 9      {MARKUP}  {MARKUP}" in compared.output


def test_status_shows_reasons_as_they_were_written(log: PromotionLog) -> None:
    shown = ran("status")
    assert shown.exit_code == 0, shown.output
    assert str(log.reigns()["challenger"][-1]) in shown.output
    said = " ".join(shown.output.split())
    assert "[blue]" in said
    assert ":smile:" in said
    assert "[/old]" in said
    assert "nothing that was made is stale, and nothing that was asked for is missing" in shown.output


def test_status_tells_what_was_evaluated_and_not_judged_and_what_is_champion_again(
    home: Path, log: PromotionLog
) -> None:
    (home / "results" / "shop" / "tiny_clip").mkdir(parents=True)
    (home / "results" / "shop" / "tiny_clip" / "other.duckdb").touch()
    second = log.reigns().row(-1, named=True)
    refused = Decision(
        **{
            name: second[name]
            for name in ("dataset", "backbone", "recipe", "method", "split", "protocol", "queries")
        },
        decided_at=datetime(2026, 3, 3),
        decision="refused",
        reason="it is worse",
        models={"shop/tiny_clip/quick/combiner": "version3"},
        champion=second["challenger"],
    )
    log.add(refused)

    def told(newest: str) -> dict[str, str]:
        Ledger(home / "ledger").record(
            "shop/tiny_clip/quick/challenger",
            LedgerEntry("fingerprint", "version", {"metadata": {"challenger": newest}}),
            alone=True,
        )
        rows = json.loads(ran("status", "--json").stdout)
        return {row["name"]: row["detail"] for row in rows if row["what"] == "champion"}

    assert told(refused.challenger)["shop/tiny_clip/quick"].startswith("refused: it is worse. ")
    assert told(second["challenger"]) == {
        "shop/tiny_clip/other": "trained and evaluated, not judged yet: make search, or cir-assets run shop",
        "shop/tiny_clip/quick": "the newest models are the champion",
    }


def test_status_needs_definitions() -> None:
    for module, said in (
        ("no_such_module", "there is no module no_such_module"),
        ("json", "no function defs"),
    ):
        wrong = ran("status", "--module", module)
        assert wrong.exit_code == 2
        assert said in wrong.output


def test_a_rollback_makes_again_what_search_serves(log: PromotionLog, materialized: list[str]) -> None:
    first, second = log.reigns()["challenger"]
    done = ran("rollback", "shop/tiny_clip/quick", "--because", MARKUP)
    assert done.exit_code == 0, done.output
    assert f"is {first} again, no longer {second}" in done.output
    assert log.rows()["reason"][-1] == MARKUP
    [selection] = materialized
    for asset in ("shop/tiny_clip/quick/champion", "shop/tiny_clip/quick/search", "leaderboard"):
        assert f'key:"{asset}"' in selection


def test_a_rollback_of_nothing_is_refused(home: Path, materialized: list[str]) -> None:
    for pipeline in ("shop", "shop/tiny_clip", "../../x", 'a/b/c" or key:"d'):
        assert ran("rollback", pipeline).exit_code == 2
    none = ran("rollback", "shop/tiny_clip/quick")
    assert none.exit_code == 1
    assert "there is no champion in" in none.output
    assert materialized == []
    assert list(home.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
def test_a_folder_that_takes_no_file_is_told_before_anything_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    # In here nobody creates a file, whoever they are.
    monkeypatch.setenv("DAGSTER_HOME", "/proc/self")
    result = ran("demo")
    assert result.exit_code == 1
    assert re.fullmatch(
        r"Error: nothing can be written to the storage folder /proc/self \([^)]+\): free space on its disk, let this "
        r"user write there, or set DAGSTER_HOME to another folder\n",
        result.output,
    )
