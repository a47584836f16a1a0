"""Connections that are begun and not gone on with, that send what is no HTTP, or that are too many."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from cir_assets.serving.champions import Champions
from tests.serving.conftest import PICTURES, Shop, free_port, served

HOST = b"Host: localhost\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.fixture
def impatient(served_shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A server that waits for a second at most: its host and port."""
    for name in ("server.HEAD_WITHIN", "server.READ_WITHIN", "app.BODY_WITHIN"):
        monkeypatch.setattr(f"cir_assets.serving.{name}", 1.0)
    monkeypatch.setattr("cir_assets.serving.server.MOST_CONNECTIONS", 20)
    with served(Champions(served_shop[0].storage)) as address:
        host, _, port = address.removeprefix("http://").partition(":")
        yield host, int(port)


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side ends the connection."""
    connection.settimeout(15)
    parts = []
    with suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def is_ended(connection: socket.socket, sent: bytes) -> bool:
    """Whether the other side ends the connection while this one goes on sending and reads nothing."""
    deadline = time.monotonic() + 30
    connection.settimeout(30)
    with suppress(ConnectionError):
        while time.monotonic() < deadline:
            connection.sendall(sent)
            time.sleep(0.1)
        return False
    return True


def refusal(answer: bytes) -> tuple[int, str]:
    """Status and words of a refusal in the API's form with the safe headers."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"default-src 'none'" in head.lower()
    assert b"content-type: application/json" in head.lower()
    assert b"connection: close" in head.lower()
    return int(head.split()[1]), json.loads(body)["error"]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\nHost: local",
        b"G",
        HEALTH + b"GET /health",
        b"POST /search HTTP/1.1\r\n"
        + HOST
        + b"Content-Type: application/json\r\nContent-Length: 90\r\n\r\n{",
        b"POST /pictures?dataset=boutique HTTP/1.1\r\n" + HOST + b"Content-Length: 90000\r\n\r\n\0\0",
        b"POST /pictures?dataset=boutique HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n",
    ],
    ids=[
        "half a header",
        "a letter",
        "half a second one",
        "half a question",
        "half a picture",
        "half a chunk",
    ],
)
def test_what_is_half_sent_is_given_up_and_told(impatient: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(impatient) as connection:
        connection.sendall(sent)
        answers = everything(connection)
    status, said = refusal(answers[answers.rindex(b"HTTP/1.1 ") :])
    assert status == 408
    assert "send it again" in said


def test_a_connection_nothing_comes_on_is_ended_without_a_word(impatient: tuple[str, int]) -> None:
    with socket.create_connection(impatient) as connection:
        assert everything(connection) == b""


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\n" + HOST,
        b"POST /pictures?dataset=boutique HTTP/1.1\r\n" + HOST + b"Content-Length: 90000\r\n\r\n",
        b"DELETE /datasets HTTP/1.1\r\n" + HOST + b"Content-Length: 90000\r\n\r\n",
    ],
    ids=["a header", "a picture", "what nobody reads"],
)
def test_who_sends_a_letter_at_a_time_wins_no_time(impatient: tuple[str, int], head: bytes) -> None:
    with socket.create_connection(impatient) as connection:
        connection.sendall(head)
        assert is_ended(connection, b"a")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"nonsense\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: many\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
        b"GET /a b c HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST /search HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nZ\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 1_000_000,
    ],
    ids=range(11),
)
def test_what_is_no_http_is_refused_in_the_apis_form(impatient: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(impatient) as connection:
        try:
            connection.sendall(sent)
        except OSError:
            # Refused before all of it was sent.
            return
        answer = everything(connection)
    if answer:
        status, said = refusal(answer)
        assert status == 400
        assert "HTTP" in said or "did not arrive whole" in said
    else:
        # The kernel drops an answer where the other side was still sending.
        assert len(sent) > 65_536


@pytest.mark.parametrize(
    "asked",
    [
        b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n" + HOST + b"\r\n",
        b"OPTIONS * HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
        b"GET http://evil.example/healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    ],
    ids=["an upgrade", "HTTP 1.0", "options of all", "a tunnel", "another server"],
)
def test_what_is_uncommon_is_answered_all_the_same(impatient: tuple[str, int], asked: bytes) -> None:
    with socket.create_connection(impatient) as connection:
        connection.sendall(asked)
        head, _, body = everything(connection).partition(b"\r\n\r\n")
    assert int(head.split()[1]) in (200, 400, 404, 405)
    assert b"default-src 'none'" in head.lower()
    assert json.loads(body).keys() >= {"error"} or json.loads(body)["status"] == "ok"


def test_who_is_one_too_many_hears_why_and_is_let_in_once_others_left(impatient: tuple[str, int]) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(impatient)) for _ in range(20)]
        with socket.create_connection(impatient) as connection:
            connection.sendall(HEALTH)
            answer = everything(connection)
            assert refusal(answer) == (
                503,
                "too many people are searching at the moment; try again in a moment",
            )
            assert b"retry-after: 5" in answer.lower()
        # Those over twice as many are not even listened to.
        more = [stack.enter_context(socket.create_connection(impatient)) for _ in range(40)]
        assert everything(more[-1]) == b""
        assert all(everything(connection) == b"" for connection in held)
    assert requests.get("http://{}:{}/healthz".format(*impatient), timeout=10).status_code == 200


def test_an_answer_nobody_reads_is_given_up(impatient: tuple[str, int]) -> None:
    """Many requests at once, the answers to which fill every buffer on the way."""
    page = b"GET /static/search.js HTTP/1.1\r\n" + HOST + b"\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(impatient)
        assert is_ended(connection, page * 10)


def test_it_ends_when_told_to_whoever_is_still_sending(shop: Shop) -> None:
    port = free_port()
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("cir-assets")), "serve", "--port", str(port)],
        env={**os.environ, "DAGSTER_HOME": str(shop.storage)},
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                assert requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200
                break
            except requests.ConnectionError:
                assert process.poll() is None, "the server ended at once"
                assert time.monotonic() < deadline, "the server did not answer in 60 s"
                time.sleep(0.2)
        with ExitStack() as stack:
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            with stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)) as sending:
                sending.sendall(
                    b"POST /pictures?dataset=boutique HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\n"
                )
                process.send_signal(signal.SIGTERM)
                process.wait(30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGTERM


def test_two_processes_know_each_others_uploads_and_end_together(shop: Shop) -> None:
    port = free_port()
    own = (PICTURES / shop.pictures["path"][9]).read_bytes()
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("cir-assets")), "serve", "--port", str(port), "--processes", "2"],
        env={**os.environ, "DAGSTER_HOME": str(shop.storage), "TMPDIR": str(shop.storage)},
        stdout=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                sent = requests.post(f"{address}/pictures?dataset=boutique", data=own, timeout=60)
                break
            except requests.ConnectionError:
                assert process.poll() is None, "the server ended at once"
                assert time.monotonic() < deadline, "the server did not answer in 120 s"
                time.sleep(0.2)
        [shared] = shop.storage.glob("cir_assets_*")
        assert len(list(shared.glob("*.npy"))) == 1
        # Each on a connection of its own, which either process may take.
        asked = {"dataset": "boutique", "reference": sent.json()["reference"], "text": "is red"}
        with ThreadPoolExecutor(8) as people:
            answers = people.map(
                lambda _: requests.post(f"{address}/search", json=asked, timeout=120), range(24)
            )
            found = [[each["image"] for each in answer.json()["results"]] for answer in answers]
        assert found == [found[0]] * 24
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert not shared.exists()
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{address}/healthz", timeout=5)
    finally:
        process.kill()
        process.wait()
