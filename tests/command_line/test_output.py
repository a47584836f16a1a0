"""Programs read rows as they are; a table for people shows text as text."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime

import click
import pytest
from click.testing import CliRunner

from cir_assets.command_line.output import Form, form_options, print_rows, say, terminal
from tests.command_line.conftest import MARKUP

ROWS = [
    {"name": MARKUP, "since": datetime(2026, 3, 1, 12), "headline": 61.25, "champion": None},
    {"name": 'a "quoted", long\nname', "since": datetime(2026, 3, 2), "headline": 0.1, "champion": "é"},
]


def test_json_and_csv_give_the_rows_back(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, "json")
    assert json.loads(capsys.readouterr().out) == [{**row, "since": str(row["since"])} for row in ROWS]
    print_rows(ROWS, "csv")
    read = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert read == [{name: "" if v is None else str(v) for name, v in row.items()} for row in ROWS]


def test_where_there_is_no_row_csv_has_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([], "csv", ["what", "name"])
    assert capsys.readouterr().out == "what,name\n"
    print_rows([], "json")
    assert json.loads(capsys.readouterr().out) == []


def test_words_about_what_goes_on_keep_out_of_what_a_program_reads() -> None:
    @click.command()
    @form_options
    def every(form: Form) -> None:
        say("reading …")
        click.echo(form)

    for asked, said in (([], "\n"), (["--json"], "json\n"), (["--csv"], "csv\n")):
        result = CliRunner().invoke(every, asked)
        assert (result.stdout, result.stderr) == (said, "reading …\n")


def test_text_stands_as_it_is_and_a_line_is_as_long_as_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    terminal().print(MARKUP)
    assert capsys.readouterr().out == f"{MARKUP}\n"
    terminal(12).print(MARKUP)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 12
    assert " ".join(line.strip() for line in lines) == MARKUP
