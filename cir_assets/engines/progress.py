"""How long work shows that it moves: a bar on a terminal, a log line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tqdm import tqdm

LOG_EVERY_SECONDS = 5.0
"""Seconds between two log lines: often enough to trust, rare enough to read."""


class Progress:
    """Progress of one piece of work over ``total`` units; use it as a context manager.

    With ``log`` each report is one line (done, total, rate, time left), at most every
    ``LOG_EVERY_SECONDS`` seconds: a web UI shows log lines, not bars. Without it a bar is drawn on
    standard error when that is a terminal, and nothing otherwise.
    """

    def __init__(
        self, description: str, total: int, unit: str, log: Callable[[str], None] | None = None
    ) -> None:
        self.description = description
        self.total = total
        self.unit = unit
        self.done = 0
        self._log = log
        self._started = self._last_line = time.monotonic()
        self._bar = (
            tqdm(total=total, desc=description, unit=f" {unit}", dynamic_ncols=True)
            if log is None and sys.stderr.isatty()
            else None
        )

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count ``count`` more units as done; ``note`` is shown beside the figures (a loss, a recall)."""
        self.done += count
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif self._log is not None and time.monotonic() - self._last_line >= LOG_EVERY_SECONDS:
            self._last_line = time.monotonic()
            self._log(self._line(note))

    def _line(self, note: str) -> str:
        rate = self.done / max(time.monotonic() - self._started, 1e-9)
        left = (self.total - self.done) / rate if rate else float("inf")
        speed = f"{rate:,.1f}/s" if rate >= 1 or not rate else f"{1 / rate:,.1f} s each"
        line = f"{self.description}: {self.done:,} of {self.total:,} {self.unit}, {speed}, {left:,.0f} s left"
        return f"{line}, {note}" if note else line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._log is not None and error is None:
            seconds = time.monotonic() - self._started
            self._log(f"{self.description}: {self.done:,} {self.unit} in {seconds:,.1f} s")


ProgressFactory = Callable[[str, int, str], Progress]
"""Makes a ``Progress`` from a description, a total and a unit; long-running library functions take one."""


def terminal_progress(description: str, total: int, unit: str) -> Progress:
    """The default: a bar on a terminal, silence where there is none."""
    return Progress(description, total, unit)
