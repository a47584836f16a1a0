"""Servers are asked within bounds, and lead nobody into his own network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cir_assets.datasets.asking import (
    FetchFailed,
    Politeness,
    Verdict,
    ask_once,
    in_own_network,
    polite_session,
    without_objects,
)
from tests.file_server import FileServer, gives, serving

PUBLIC = "http://93.184.215.14/a.jpg"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as scripted:
        yield scripted


@pytest.fixture
def proxy(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """The server answers for every host, as a company's proxy does: so a public address may be asked in a test."""
    monkeypatch.setenv("http_proxy", server.address)
    monkeypatch.delenv("no_proxy", raising=False)
    return server


def ask(address: str, **manners: object) -> bytes:
    polite = Politeness(timeout_seconds=2, **manners)  # type: ignore[arg-type]
    with polite_session() as session:
        return bytes(ask_once(session, address, polite).content)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/x",
        "http://localhost:80/x",
        "http://10.1.2.3/x",
        "http://192.168.0.1/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/x",
        "http://[fe80::1]/x",
        "http://0.0.0.0/x",
        "http://2130706433/x",
        "http://0x7f.1/x",
    ],
)
def test_a_redirect_from_outside_into_ones_own_network_is_not_followed(
    proxy: FileServer, address: str
) -> None:
    assert in_own_network(address)
    proxy.answers = {PUBLIC: gives(b"", 302, Location=address), address: gives(b"secret")}
    with pytest.raises(FetchFailed, match=r"own network; it was not asked.*trusted_hosts") as refused:
        ask(PUBLIC)
    assert refused.value.verdict is Verdict.REFUSED
    assert [request.path for request in proxy.requests] == [PUBLIC]


def test_a_host_of_ones_own_network_that_is_trusted_by_name_is_asked(proxy: FileServer) -> None:
    inside = "http://10.1.2.3/store/a.jpg"
    proxy.answers = {PUBLIC: gives(b"", 302, Location=inside), inside: gives(b"picture")}
    assert ask(PUBLIC, trusted_hosts=("10.1.2.3",)) == b"picture"


def test_redirects_between_public_places_and_within_ones_own_network_are_followed(
    proxy: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.answers = {
        PUBLIC: gives(b"", 301, Location="http://93.184.215.15/b"),
        "http://93.184.215.15/b": gives(b"moved"),
    }
    assert ask(PUBLIC) == b"moved"
    monkeypatch.delenv("http_proxy")
    proxy.answers = {"/a": gives(b"", 307, Location="/b"), "/b": gives(b"here")}
    assert ask(proxy.at("/a")) == b"here"


def test_redirects_are_few_and_their_bodies_are_not_read(server: FileServer) -> None:
    def step(number: int) -> str:
        return f"/r{number}"

    endless = {"Content_Length": str(1 << 40)}
    server.answers = {step(n): gives(b"x", 302, Location=step(n + 1), **endless) for n in range(9)}
    server.answers[step(5)] = gives(b"here")
    assert ask(server.at(step(0))) == b"here"
    server.answers[step(5)] = gives(b"x", 302, Location=step(6), **endless)
    with pytest.raises(FetchFailed, match="is redirected more than 5 times") as refused:
        ask(server.at(step(0)))
    assert refused.value.verdict is Verdict.REFUSED


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/x", "http://[oops", "http://a..b/"])
def test_a_redirect_to_what_is_no_address_is_told(server: FileServer, target: str) -> None:
    server.answers = {"/a": gives(b"", 302, Location=target)}
    with pytest.raises(FetchFailed, match="cannot be asked"):
        ask(server.at("/a"))


def test_a_message_has_no_addresses_of_objects() -> None:
    assert without_objects("<urllib3.X object at 0x7f0a>: no <_io.BytesIO object at 0xFF>") == (
        "urllib3.X: no _io.BytesIO"
    )
