"""A server answers to the names it was told, and to its own machine's."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest
import uvicorn
from fastapi import FastAPI

from cir_assets.command_line.serving import is_taken
from cir_assets.serving import app
from cir_assets.serving.champions import Champions
from tests.command_line.conftest import ran
from tests.serving.conftest import Shop


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str] | None]:
    """The hosts that a server, which is not run, would have answered to."""
    seen: list[Sequence[str] | None] = []
    own = app.search_app

    def watched(champions: Champions, *, hosts: Sequence[str] | None = None) -> FastAPI:
        seen.append(hosts)
        return own(champions, hosts=hosts)

    monkeypatch.setattr(app, "search_app", watched)
    monkeypatch.setattr(uvicorn.Server, "run", lambda self: None)
    return seen


HERE = ["127.0.0.1", "localhost", "[::1]"]


@pytest.mark.parametrize(
    ("arguments", "variable", "hosts"),
    [
        ([], None, HERE),
        (["--host", "localhost"], None, HERE),
        (["--host", "0.0.0.0"], None, None),
        (
            ["--trusted-host", "Shop.Example", "--trusted-host", "*.b.example"],
            None,
            [*HERE, "shop.example", "*.b.example"],
        ),
        (["--host", "0.0.0.0"], "shop.example search", [*HERE, "shop.example", "search"]),
        ([], "shop.example,search,", [*HERE, "shop.example", "search"]),
        (["--trusted-host", "a.example"], "b.example", [*HERE, "a.example"]),
        ([], "", HERE),
    ],
)
def test_the_hosts_a_server_answers_to(
    shop: Shop,
    started: list[Sequence[str] | None],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    variable: str | None,
    hosts: list[str] | None,
) -> None:
    if variable is not None:
        monkeypatch.setenv("CIR_ASSETS_TRUSTED_HOSTS", variable)
    served = ran("serve", *arguments)
    assert served.exit_code == 0, served.output
    assert started == [hosts]


def test_a_port_is_taken_while_somebody_listens_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert is_taken(port)
    assert not is_taken(port)
