"""A real HTTP server on this machine whose answers a test scripts, and which remembers what it was asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    at: float


Answer = Callable[[BaseHTTPRequestHandler, Request], None]


@dataclass
class FileServer:
    """``answers`` maps a path to what is done when it is asked for; everything else is 404."""

    address: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def at(self, path: str) -> str:
        return self.address + path


def gives(body: bytes, status: int = 200, **headers: str) -> Answer:
    """Answers with a body; ``Content_Length`` may lie about it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(handler: BaseHTTPRequestHandler, request: Request) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **named}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def resumable(body: bytes, etag: str, break_after: int | None = None) -> Answer:
    """Understands Range and If-Range; breaks off a whole answer after ``break_after`` bytes."""

    def answer(handler: BaseHTTPRequestHandler, request: Request) -> None:
        asked = request.headers.get("range")
        start = 0
        if asked is not None and request.headers.get("if-range") == etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        handler.send_response(206 if start else 200)
        handler.send_header("ETag", etag)
        handler.send_header("Content-Length", str(len(body) - start))
        handler.end_headers()
        handler.wfile.write(body[start:] if start or break_after is None else body[:break_after])

    return answer


def first(*answers: Answer) -> Answer:
    """One answer after the other; the last for ever."""
    left = list(answers)

    def answer(handler: BaseHTTPRequestHandler, request: Request) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler, request)

    return answer


def drips(body: bytes, seconds: float) -> Answer:
    """A byte at a time."""

    def answer(handler: BaseHTTPRequestHandler, request: Request) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        for position in range(len(body)):
            handler.wfile.write(body[position : position + 1])
            handler.wfile.flush()
            time.sleep(seconds)

    return answer


def silence(seconds: float) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, request: Request) -> None:
        time.sleep(seconds)

    return answer


@contextmanager
def serving() -> Iterator[FileServer]:
    """The server, on a free port of 127.0.0.1."""
    scripted = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.path, headers, time.monotonic())
            scripted.requests.append(request)
            with suppress(BrokenPipeError, ConnectionResetError):
                scripted.answers.get(self.path, gives(b"not here", 404))(self, request)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scripted.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        server.shutdown()
        server.server_close()
