"""Every command explains itself, and ends well where nobody reads on."""

from __future__ import annotations

import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from cir_assets.command_line import main
from tests.command_line.conftest import ran


@pytest.mark.parametrize("command", [None, *main.commands])
def test_every_command_explains_itself(command: str | None) -> None:
    shown = ran(*([command] if command else []), "--help")
    assert shown.exit_code == 0
    assert "Usage:" in shown.output
    if command is None:
        assert all(name in shown.output for name in main.commands)


def test_version_and_help_and_completion_are_where_they_are_looked_for() -> None:
    assert ran("--version").output == f"cir-assets {metadata.version('cir-assets')}\n"
    assert ran("-h").output == ran("--help").output
    assert "_CIR_ASSETS_COMPLETE=bash_complete" in ran("completion", "bash").output


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
