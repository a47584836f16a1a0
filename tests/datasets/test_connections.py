"""An answer begins in time, or the connection is cut."""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from cir_assets.datasets import connections
from cir_assets.datasets.asking import FetchFailed, Politeness
from cir_assets.datasets.fetching import fetch_file
from tests.file_server import Request, gives, serving

POLITE = Politeness(timeout_seconds=5, attempts=1)


def dripping_headers(handler: BaseHTTPRequestHandler, request: Request) -> None:
    handler.wfile.write(b"HTTP/1.0 200 OK\r\n")
    for number in range(600):
        handler.wfile.write(b"X-%d: a\r\n" % number if number % 20 == 0 else b"")
        handler.wfile.flush()
        time.sleep(0.02)


@pytest.mark.parametrize("through_a_proxy", [False, True])
def test_a_server_that_drips_header_lines_holds_nobody_and_gives_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, through_a_proxy: bool
) -> None:
    monkeypatch.setattr(connections, "HEADERS_SECONDS", 0.3)
    with serving() as server:
        address = "http://93.184.215.14/a" if through_a_proxy else server.at("/a")
        if through_a_proxy:
            monkeypatch.setenv("http_proxy", server.address)
        server.answers = {"/a": dripping_headers, address: dripping_headers}
        with pytest.raises(FetchFailed, match=r"headers were not whole after 0\.3 s"):
            fetch_file(address, tmp_path / "a", politeness=POLITE)
        assert not (tmp_path / "a").exists()


def test_an_answer_in_time_is_not_cut_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADERS_SECONDS", 0.2)
    with serving() as server:
        server.answers = {"/a": gives(b"whole")}
        for number in range(3):
            assert (
                fetch_file(server.at("/a"), tmp_path / str(number), politeness=POLITE).read_bytes()
                == b"whole"
            )
            time.sleep(0.1)
