"""The command itself: its version, its help, its completion, and how it ends where nobody reads on."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from click.shell_completion import get_completion_class


class UnixGroup(click.Group):
    """Commands that end well when what reads them has read enough, as ``head`` does."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            stop_writing()
            raise SystemExit(0) from None


def stop_writing() -> None:
    """Have nothing more go to a reader that is gone, not even what is written when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=UnixGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("cir-assets"), "--version", "-V", message="cir-assets %(version)s")
def main() -> None:
    """Composed image retrieval as a living graph of Dagster assets.

    Begin with `cir-assets demo`, or with `cir-assets check` and `cir-assets run` on data of your own.
    """
    # Dagster takes absolute paths alone.
    home = Path(os.environ.get("DAGSTER_HOME") or "storage").expanduser().absolute()
    os.environ["DAGSTER_HOME"] = str(home)
    # A project's package lies in its folder, installed or not; a command's own script does not look there.
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what completes these commands in a shell.

    For bash: cir-assets completion bash >> ~/.bashrc
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(main, {}, "cir-assets", "_CIR_ASSETS_COMPLETE").source())
