"""What is remembered of dead links, and when it is believed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cir_assets.datasets.dead_links import DeadLinks

SETTINGS = {"pixel_limit": 100}


def test_what_bytes_were_judged_by_must_be_the_same_and_404_holds_whatever_it_is(tmp_path: Path) -> None:
    memory = DeadLinks(tmp_path / "dead.jsonl", SETTINGS)
    memory.remember("a", "http://host/a", "too many pixels", whatever_the_settings=False)
    memory.remember("b", "http://host/b", "http://host/b answered 404", whatever_the_settings=True)
    assert set(memory.known()) == {("a", "http://host/a"), ("b", "http://host/b")}
    later = DeadLinks(tmp_path / "dead.jsonl", {"pixel_limit": 1_000})
    assert set(later.known()) == {("b", "http://host/b")}


@pytest.mark.parametrize(
    ("reason", "believed"),
    [
        ("http://host/a answered 404", True),
        ("http://host/a answered 410", True),
        ("http://host/a answered 403", False),
        ("http://host/a gave text/html of 18 bytes where a picture was expected (404)", False),
    ],
)
def test_of_an_earlier_version_only_404_and_410_are_believed(
    tmp_path: Path, reason: str, believed: bool
) -> None:
    row = {"image": "a", "address": "http://host/a", "reason": reason, "when": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "dead.jsonl").write_text(json.dumps(row) + "\n")
    assert bool(DeadLinks(tmp_path / "dead.jsonl", SETTINGS).known()) == believed


@pytest.mark.parametrize("line", [b"", b"[]", b"3", b'{"image": 1}', b"\xff\xfe", b'{"image": "a", "addr'])
def test_a_line_that_is_none_is_passed_over_and_costs_no_other(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "dead.jsonl").write_bytes(line)
    memory = DeadLinks(tmp_path / "dead.jsonl", SETTINGS)
    memory.remember("b", "http://host/b", "gone", whatever_the_settings=True)
    assert set(memory.known()) == {("b", "http://host/b")}
