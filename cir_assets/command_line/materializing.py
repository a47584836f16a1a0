"""How commands make something: Dagster's run in a process of its own, told in few lines, its failure by its causes."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import click

from cir_assets.store.home import begin_storage

SHOWN_OF_A_LOG = 40
"""Lines, of a run that says nothing of why it failed."""

RUN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def materialize(selection: str, module: str, *, verbose: bool = False) -> None:
    """Materialize a selection in one run, showing what goes on.

    Raises:
        click.ClickException: when there is no storage folder, or the run failed: with the causes.
    """
    home = Path(os.environ["DAGSTER_HOME"])
    if home == Path("storage").absolute():
        with suppress(OSError):
            begin_storage(home)
    require_writable_storage()
    started = time.monotonic()
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "--select", selection, "-m", module]
    click.echo(f"$ {' '.join(command[2:])}")
    # What Dagster's own parts warn of is nothing a reader could mend. A project's .env names the storage folder by PWD
    # and is heard before what is set; whoever changed folders without a shell left PWD behind.
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PYTHONWARNINGS": "ignore", **os.environ, "PWD": str(home.parent)},
    )
    assert process.stdout is not None
    kept: list[str] = []
    for line in process.stdout:
        kept.append(line)
        if verbose:
            click.echo(line, nl=False)
        elif (said := _worth_showing(line)) is not None:
            click.echo(f"{time.monotonic() - started:6.1f} s  {said}")
    if process.wait() != 0:
        raise click.ClickException(why_it_failed(kept))


def why_it_failed(log: list[str]) -> str:
    """The causes of a run's failure, as its events have them; where it never began, the end of its log."""
    from cir_assets.graph.status import causes_of

    if found := next((match for line in log if " - " in line and (match := RUN.search(line))), None):
        causes = causes_of(found.group())
        if causes:
            told = "\n".join(f"{step}: {cause}" for step, cause in causes.items())
            return f"the run failed:\n{told}"
    if (last := log[-1:]) and "Error" in last[0]:
        return f"nothing was made: {last[0].strip()}"
    return "".join([*log[-SHOWN_OF_A_LOG:], "the run failed; its last lines stand above"])


def _worth_showing(line: str) -> str | None:
    """What a person wants to see of Dagster's log: progress, finished steps, failed checks and failures."""
    parts = line.rstrip().split(" - ")
    if len(parts) < 6:
        return None
    level, step, said = parts[2], parts[-2], parts[-1]
    if level == "INFO":
        name = step.replace("__", "/")
        return said if said.startswith(f"{name}: ") else f"{name}: {said}"
    if "STEP_SUCCESS" in parts:
        return said
    if "STEP_FAILURE" in parts or ("ASSET_CHECK_EVALUATION" in parts and "did not pass" in said):
        return said
    return None


def require_storage() -> Path:
    """See that Dagster's folder is there.

    Raises:
        click.ClickException: when it is not.
    """
    home = Path(os.environ["DAGSTER_HOME"])
    if not home.is_dir():
        raise click.ClickException(
            f"there is no storage folder {home}: run this in the project's folder, or set DAGSTER_HOME to it"
        )
    return home


def require_writable_storage() -> None:
    """See that Dagster's folder is there, and takes a file: of a full or read-only disk Dagster tells in forty lines.

    Raises:
        click.ClickException: when it is not, or takes none.
    """
    home = require_storage()
    try:
        with tempfile.TemporaryFile(dir=home) as trial:
            trial.write(bytes(4096))
            trial.flush()
            os.fsync(trial.fileno())
    except OSError as error:
        raise click.ClickException(
            f"nothing can be written to the storage folder {home} ({error.strerror}): free space on its disk, let "
            "this user write there, or set DAGSTER_HOME to another folder"
        ) from error


def import_definitions(module: str) -> ModuleType:
    """The module with the definitions.

    Raises:
        click.BadParameter: when there is none of that name, or it defines nothing.
    """
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise click.BadParameter(f"there is no module {error.name}", param_hint="--module") from error
    if not hasattr(found, "defs"):
        raise click.BadParameter(f"{module} has no function defs", param_hint="--module")
    return found
