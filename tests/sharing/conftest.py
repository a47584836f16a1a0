"""A shop whose champion has left as one folder, and the command that passes it on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from cir_assets.command_line import main
from tests.serving.conftest import Shop, encoded, opened_shop

__all__ = ["encoded"]


def ran(shop: Shop, *arguments: str) -> Result:
    """A command's outcome in the shop's storage folder; a traceback fails the test with itself."""
    result = CliRunner().invoke(main, arguments, env={"DAGSTER_HOME": str(shop.storage)})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory, encoded: tuple[pl.DataFrame, NDArray[np.float32]]) -> Shop:
    """The sample catalogue; its champion's Combiner nobody trained."""
    return opened_shop(tmp_path_factory.mktemp("shop"), encoded)


@pytest.fixture(scope="session")
def exported(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder its champion left as."""
    folder = tmp_path_factory.mktemp("passed_on") / "boutique"
    done = ran(shop, "export", "boutique", "--to", str(folder))
    assert done.exit_code == 0, done.output
    return folder
