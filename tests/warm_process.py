"""Processes that begin with everything imported: that takes longer than a small run does.

One server a test session imports what runs need, and is copied for each process.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from multiprocessing.process import BaseProcess
from pathlib import Path

WARM = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload(
    ["cir_assets.definitions", "cir_assets.models.backbone", "cir_assets.reporting.report", "pyarrow"]
)


@dataclass
class Death:
    """``kill -9`` right before a process opens or renames a file for the ``times``-th time.

    Attributes:
        event: "open" or "os.rename", as Python's audit events have it.
        pattern: of the file that is opened, or whose name is given.
        times: how often it has to happen.
        after: it counts from when this file is there.
    """

    event: str
    pattern: str
    times: int
    after: Path | None = None

    def comes(self, event: str, arguments: tuple[object, ...]) -> None:
        """What the interpreter calls for each event."""
        if event != self.event or not fnmatch(str(arguments[event == "os.rename"]), self.pattern):
            return
        self.times -= self.after is None or self.after.is_file()
        if not self.times:
            os.kill(os.getpid(), signal.SIGKILL)


def started(
    command: Sequence[str], folder: Path, home: Path, log: Path, death: Death | None = None
) -> BaseProcess:
    """A console script in a process of its own, in ``folder``, with ``home`` as Dagster's, printing into ``log``."""
    process = WARM.Process(target=_run, args=(command, folder, home, log, death))
    process.start()
    return process


def _run(command: Sequence[str], folder: Path, home: Path, log: Path, death: Death | None) -> None:
    os.setsid()
    with log.open("wb") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    os.environ["DAGSTER_HOME"] = str(home)
    os.chdir(folder)
    sys.argv = list(command)
    if death is not None:
        sys.addaudithook(death.comes)
    runpy.run_path(command[0], run_name="__main__")
