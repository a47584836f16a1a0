"""What the commands' tests share: a storage folder of one's own, a command's outcome, a shop."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cir_assets.command_line import main
from tests.serving.conftest import encoded, served_shop, shop

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
