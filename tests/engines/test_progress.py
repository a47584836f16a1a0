"""Long work says how far it is: on a terminal by a bar, in a log by a line now and then."""

from __future__ import annotations

import pytest

from cir_assets.engines import progress
from cir_assets.engines.progress import Progress, terminal_progress


def test_a_log_gets_figures_and_a_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_EVERY_SECONDS", 0.0)
    lines: list[str] = []
    with Progress("encode", 1_500, "pictures", lines.append) as shown:
        shown.advance(500, "half of them red")
        shown.advance(1_000)
    first, second, last = lines
    assert first.startswith("encode: 500 of 1,500 pictures, ")
    assert first.endswith(" s left, half of them red")
    assert second.startswith("encode: 1,500 of 1,500 pictures, ")
    assert last.startswith("encode: 1,500 pictures in ")


def test_lines_are_rare_and_what_failed_has_no_last_one() -> None:
    lines: list[str] = []
    shown = Progress("encode", 9, "pictures", lines.append)
    with shown:
        shown.advance(3)
        assert lines == []
    assert len(lines) == 1
    shown.__exit__(RuntimeError, RuntimeError(), None)
    assert len(lines) == 1


def test_without_a_terminal_nothing_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal_progress("encode", 2, "pictures") as shown:
        shown.advance(2)
    assert capsys.readouterr() == ("", "")
